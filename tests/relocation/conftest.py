"""A database with a salon that is to move."""

from collections.abc import Iterator

import pytest

from tests.relocation.salon import salon_template
from tests.support.postgres import PostgresServer


@pytest.fixture
def salons(databases: PostgresServer) -> Iterator[str]:
    """A database with the salon `t1`, at the stage `complete`."""
    url = databases.create_database(template=salon_template(databases))
    yield url
    databases.drop_database(url)
