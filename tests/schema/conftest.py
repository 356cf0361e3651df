"""Fixtures of the schema tests."""

from pathlib import Path

import psycopg
import pytest


@pytest.fixture
def live_baileys_database(fresh_database: str) -> str:
    """The URL of a database that holds nothing but the Baileys tables of a running bot (live_baileys.sql)."""
    with psycopg.connect(fresh_database) as connection:
        connection.execute((Path(__file__).parent / "live_baileys.sql").read_text())
    return fresh_database
