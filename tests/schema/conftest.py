"""Fixtures of the schema tests."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url


@pytest.fixture
def live_baileys_database(fresh_database: str) -> str:
    """The URL of a database that holds nothing but the Baileys tables of a running bot (live_baileys.sql)."""
    with psycopg.connect(fresh_database) as connection:
        connection.execute((Path(__file__).parent / "live_baileys.sql").read_text())
    return fresh_database


@dataclass(frozen=True)
class OtherRole:
    """A role without rights, and the URL of `database_url` on which sessions take it."""

    name: str
    url: str


@pytest.fixture
def other_role(database_url: str) -> Iterator[OtherRole]:
    """A role for this test only; what it owns or may do goes with it."""
    name = f"schema_tests_{uuid.uuid4().hex[:12]}"
    url = make_url(database_url).update_query_dict({"options": f"-crole={name}"})
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name}")
        yield OtherRole(name, url.render_as_string(hide_password=False))
        connection.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")
