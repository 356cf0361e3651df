"""The contract suite with two streaming standbys behind DATABASE_READ_URL."""

import pytest

from tests.contract.through import run_through


def test_a_part() -> None:
    run_through("standbys", "tests/contract/test_lookups.py", "tests/contract/test_upcoming.py", "-k", "complete")


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.budget(600)
def test_the_whole() -> None:
    run_through("standbys", "tests/contract", "-m", "not browser")
