"""Reads of one schema by the way to standbys that the schemas of a process share."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import Select

from app.state.cutover.standby_reads import StandbyReads
from app.state.wal import WalPlace
from app.stores.outgoing_write import OutgoingWrite
from app.stores.postgres.database import Database
from app.stores.standbys.read_router import ReadRouter


class SchemaReads:
    """As a `ReadRouter`, whose mark is one for all schemas: a log has one place, whoever has written.

    Args:
        router: started and closed by the one who shares it.
        database: the callers' pool, for the tables of this schema.
    """

    def __init__(self, router: ReadRouter, database: Database) -> None:
        self._router = router
        self._database = database

    async def fetch(
        self, statement: Select[Any], parameters: Mapping[str, object] | None = None
    ) -> list[tuple[Any, ...]]:
        """The rows of a statement, as of `Database.fetch`."""
        return await self._router.fetch(statement, parameters, database=self._database)

    async def fetch_text(
        self, statement: Select[Any], parameters: Mapping[str, object] | None = None
    ) -> list[tuple[Any, ...]]:
        """The same, as of `Database.fetch_text`: of the primary."""
        return await self._database.fetch_text(statement, parameters)

    def writing(self, write: OutgoingWrite) -> AbstractContextManager[None]:
        """As of the router."""
        return self._router.writing(write)

    def reach(self, place: WalPlace | None) -> None:
        """As of the router."""
        self._router.reach(place)

    def report(self) -> StandbyReads:
        """What all schemas of the process have read."""
        return self._router.report()

    def start(self) -> None:
        """It was started by the one who shares it."""

    async def close(self) -> None:
        """Nothing is its own."""
