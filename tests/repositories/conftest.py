"""Fixtures of the repositories' tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from app.db import Database


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The migrated database, without rows."""
    database = Database(database_url, pool_size=3)
    yield database
    await database.close()
