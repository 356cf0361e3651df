"""Waits until what was on its way between the stores, when an answer differed, has arrived."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Sequence
from datetime import datetime
from time import monotonic
from typing import Any

from sqlalchemy import text

from app.cutover.shadow.diff import RowKey
from app.cutover.stages import Stage
from app.cutover.tables import METHODS_TABLES
from app.stores.codec.json_rows import encode
from app.stores.postgres.database import Database

_FIRST_PAUSE = 0.01  # seconds between looks
_LONGEST_PAUSE = 0.2
_PATIENCE = 1.0  # with a row that is noted, before it is left out
_FOLLOWED = "60 seconds"  # a table that was synced no longer ago is brought over again and again

_STAGE = "SELECT stage, moved_at FROM botdata.stage"
_NOW = "SELECT clock_timestamp()"
_WAITING = """
SELECT '{table}', id, table_name, key FROM botdata.{table} WHERE table_name = ANY(:whole) OR (table_name, key) IN (
    SELECT k->>0, ARRAY(SELECT json_array_elements_text(k->1)) FROM json_array_elements(CAST(:keys AS json)) k)
"""
# A process that did not report since the stores were asked may have keys in its spool that nobody else knows of.
_LOOK = text(f"""
SELECT (SELECT count(*) FROM botdata.processes WHERE spooled > 0 OR reported_at <= CAST(:since AS timestamptz)) AS late,
    (SELECT CAST(json_agg(json_build_array(kind, id, table_name, key)) AS text) FROM (
        {_WAITING.format(table="notes")} UNION ALL {_WAITING.format(table="outbox")}) w (kind, id, table_name, key)
    ) AS waiting,
    EXISTS (SELECT FROM botdata.table_authority WHERE table_name = ANY(:own) AND authority = 'postgres') AS is_ours,
    EXISTS (SELECT FROM botdata.synced_tables WHERE table_name = ANY(:own) AND began_at <= CAST(:since AS timestamptz)
            AND ended_at > clock_timestamp() - interval '{_FOLLOWED}') AS is_behind,
    stage, moved_at FROM botdata.stage
""")  # noqa: S608 - of constants


class UnsettledError(Exception):
    """It cannot be known whether the stores should be the same; the message is one or two words."""


class Settling:
    """Of one look at both stores, and of what was on its way between them then.

    Args:
        keys: of the rows that matter.
        whole: tables that matter as a whole, since it is not known which rows do.
        tables: those that the call reads.
    """

    def __init__(
        self, database: Database, keys: Sequence[RowKey], whole: Collection[str], tables: Collection[str]
    ) -> None:
        self._database = database
        self._parameters: dict[str, Any] = {
            "keys": encode([[key.table, list(key.key)] for key in keys]),
            "whole": sorted(whole),
            "own": sorted(set(tables) - METHODS_TABLES),
            "since": None,
        }
        self._is_whole = bool(whole)
        self._stage: tuple[str, datetime | None] | None = None

    async def begin(self, stage: Stage) -> None:
        """To be called before the stores are asked.

        Raises:
            UnsettledError: the cutover stands at another stage by now.
        """
        async with self._database.reader() as connection:
            name, moved_at = (await connection.execute(text(_STAGE))).one()
        if moved_at is not None and name != stage:
            raise UnsettledError("stage moved")
        self._stage = name, moved_at

    async def on_their_way(self) -> set[RowKey]:
        """The rows that are noted, or in the outbox, now."""
        return {RowKey(table, key) for _, _, table, key in _waiting(await self._look())}

    async def arrived(self) -> set[RowKey]:
        """Wait until all that was written before this call has reached both stores.

        To be called after the stores were asked.

        Returns:
            Those that did not within a second: rows that are noted and not repaired yet, or written all the time.

        Raises:
            UnsettledError: a table's writer has moved to PostgreSQL, so that nothing brings its rows to Supabase.
        """
        async with self._database.reader() as connection:
            self._parameters["since"] = await connection.scalar(text(_NOW))
        awaited: set[tuple[Any, ...]] | None = None
        pause = _FIRST_PAUSE
        patient_until = float("inf")
        while True:
            look = await self._look()
            if look.is_ours:
                raise UnsettledError("own authority")
            waiting = _waiting(look)
            if awaited is None and not look.late:
                awaited = waiting  # what comes later was written later
                patient_until = monotonic() + _PATIENCE
            if awaited is not None and not look.is_behind:
                left = waiting if self._is_whole else waiting & awaited
                if not left or monotonic() > patient_until:
                    return {RowKey(table, key) for _, _, table, key in left}
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def stood(self) -> bool:
        """Whether the stage stood still since the beginning, and no row of a table that matters whole is on its way.

        Raises:
            UnsettledError: the stage moved.
        """
        look = await self._look()
        if (look.stage, look.moved_at) != self._stage:
            raise UnsettledError("stage moved")
        return not (self._is_whole and _waiting(look))

    async def _look(self) -> Any:
        async with self._database.reader() as connection:
            return (await connection.execute(_LOOK, self._parameters)).one()


def _waiting(look: Any) -> set[tuple[Any, ...]]:
    """Notes and entries, each as the kind, its number, and the table and the key that it is of."""
    return {(kind, number, table, tuple(key)) for kind, number, table, key in json.loads(look.waiting or "[]")}
