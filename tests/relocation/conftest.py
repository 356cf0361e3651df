"""A database with a salon that is to move, and what moves it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import Command
from tests.relocation.salon import salon_in, salon_template
from tests.support.postgres import PostgresServer


@pytest.fixture
def salons(databases: PostgresServer) -> Iterator[str]:
    """A database with the salon `t1`, at the stage `complete`."""
    url = databases.create_database(template=salon_template(databases))
    yield url
    databases.drop_database(url)


@pytest.fixture
def salon(salons: str) -> str:
    """The salon `t1`, for psycopg."""
    return salon_in(salons)


@pytest.fixture
def move_out(command: Command, salons: str):  # type: ignore[no-untyped-def]
    return lambda *words: command("schema", "move-out", "t1", *words, DATABASE_URL=salons)


@pytest.fixture
def archive(salon: str, move_out) -> Path:  # type: ignore[no-untyped-def]
    assert move_out("--to", "t1.zip").code == 0
    return Path("t1.zip").absolute()
