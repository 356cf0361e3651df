"""Columns of type vector, which the tests' own server has."""

import psycopg
import pytest

from tests.extensions.moving import extension, moved_every_way
from tests.fixtures.sources import Ends
from tests.migration.engine import execute


async def test_vectors_are_moved_exactly(ends: Ends) -> None:
    with psycopg.connect(ends.target) as connection:
        found = connection.execute("SELECT FROM pg_available_extensions WHERE name = 'vector'").fetchone()
    if found is None:
        pytest.skip("the server has no extension vector")
    for url in (ends.source, ends.target):
        execute(url, extension("vector"))
    await moved_every_way(ends, "vector")
