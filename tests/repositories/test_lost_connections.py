"""Reads after the server has ended the connections that are idle in the pool."""

from __future__ import annotations

import gc
import sys

import psycopg
import pytest
from sqlalchemy import select

from app.db import Database
from app.models import Client

_CLIENTS = select(Client.__table__.c.id)


async def test_a_lost_connection_is_replaced_without_a_word(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", said.append)  # where a coroutine that nobody awaits ends up
    for _ in range(3):
        assert await database.fetch(_CLIENTS) == []
        with psycopg.connect(database_url, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
    assert await database.fetch(_CLIENTS) == []
    gc.collect()
    assert said == []
