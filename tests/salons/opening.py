"""Opens three salons of one database over one pool."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from app.data_layer import open_data_layers
from app.data_layer.salons import Salons
from app.settings import Settings
from tests.support.other_schemas import other_schemas_template
from tests.support.postgres import PostgresServer

Opening = Callable[..., AbstractAsyncContextManager[Salons]]


@pytest.fixture
def target(databases: PostgresServer) -> Iterator[str]:
    """A database with three schemas, each with the tool's own."""
    url = databases.create_database(template=other_schemas_template(databases))
    yield url
    databases.drop_database(url)


@pytest.fixture
def opening(target: str, tmp_path: Path) -> Opening:
    """Opens the salons at `complete`, over a pool of two, unless the settings say otherwise."""

    @asynccontextmanager
    async def open_them(own: Any = lambda _: {}, **given: Any) -> AsyncIterator[Salons]:
        defaults = {
            "database_url": target,
            "database_pool_size": 2,
            "cutover_spool": tmp_path,
            "cutover_stage": "complete",
        }
        async with open_data_layers(own, Settings(_env_file=None, **{**defaults, **given})) as salons:
            yield salons

    return open_them


def ask(url: str, statement: str) -> list[Any]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def client(name: str, number: int = 7) -> dict[str, object]:
    return {"yclients_id": number, "company_id": 1, "phone": "79684484488", "name": name}
