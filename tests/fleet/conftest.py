"""Databases of several salons."""

from collections.abc import Iterator

import pytest

from tests.support.other_schemas import other_schemas_template
from tests.support.postgres import PostgresServer


@pytest.fixture
def salons(databases: PostgresServer) -> Iterator[str]:
    """The libpq URL of a database with the salons t1, t2 and t3 at the newest revision, and an empty public."""
    url = databases.create_database(template=other_schemas_template(databases))
    yield url
    databases.drop_database(url)
