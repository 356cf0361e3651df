"""The contract suite through PgBouncer in transaction mode, with a pool of three for every stage at once."""

import pytest

from tests.contract.through import run_through

_PART = [f"tests/contract/test_{name}.py" for name in ("values", "lookups", "upcoming", "search")]
_PARTS = 5  # each ends within the time of a test, on a busy machine too


def test_a_part() -> None:
    run_through("pgbouncer", *_PART, "-k", "complete")


@pytest.mark.soak
@pytest.mark.budget(150)
@pytest.mark.parametrize("part", range(1, _PARTS + 1))
def test_the_whole(part: int) -> None:
    run_through("pgbouncer", "tests/contract", "-m", "not browser", "--part", f"{part}/{_PARTS}")
