"""Writing rows to a source over a database connection, with the statements that load the target."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from psycopg import AsyncConnection

from app.common.keys import Key
from app.migration.keys import keyed_rows
from app.migration.load import statements
from app.migration.retry import Limits
from app.migration.sources.source import Page
from app.migration.tables.copy_table import CopyTable, named
from app.migration.tables.described_table import is_plain
from app.migration.target.followed_sequences import follow_other, read_other
from app.migration.target.sequences import raise_sequences
from app.migration.target.target_session import JsonBytes, register_json_bytes
from app.state.fetching import fetch_rows, fetch_value, fetching
from app.stores.postgres.session import connect, source_errors

_REFERRED_TO = "SELECT EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND confrelid = to_regclass(%s))"


class PostgresWriter:
    """A Writer on a PostgreSQL. Made with `open_postgres_writer`; a lost connection is made again."""

    def __init__(self, url: str, step: str, limits: Limits) -> None:
        self._url = url
        self._step = step
        self.limits = limits
        self._connection: AsyncConnection | None = None
        self._kinds: dict[str, tuple[bool, bool]] = {}  # by table, whether it is a plain one, and has rules

    def unsendable(self, table: CopyTable, record: dict[str, Any]) -> str | None:
        """Every value can be sent."""
        return None

    async def write(self, table: CopyTable, page: Page) -> None:
        """One transaction for all rows of a page."""
        with source_errors():
            connection = await self._open()
            parameters = [JsonBytes(page.body)]
            async with connection.transaction():
                await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")  # a deferred one would speak up at the commit
                written = table = await self._own(connection, table)
                if table.replaces_rows and await _is_referred_to(connection, table):
                    # What a trigger makes of it is found by reading back.
                    written = replace(table, replaces_rows=False, has_rules=False)
                elif table.replaces_rows:
                    await connection.execute(statements.delete_changed(table), parameters)
                if not written.has_only:
                    await connection.execute(statements.create_marks())
                await connection.execute(statements.load_page(written), parameters)

    async def delete(self, table: CopyTable, keys: Sequence[Key]) -> None:
        """One statement."""
        with source_errors():
            connection = await self._open()
            await keyed_rows.delete_rows(connection, await self._own(connection, table), keys)

    async def raise_sequences(self, table: CopyTable) -> bool:
        """They are raised."""
        with source_errors():
            await raise_sequences(await self._open(), table, has_quarantine=False)
        return True

    async def follow_sequences(self, target: AsyncConnection, tables: Sequence[CopyTable]) -> list[str]:
        """Set the sequences as far as the target's; the statements for those that the role may not set."""
        theirs = await read_other(fetching(target), tables)
        with source_errors():
            done = await follow_other(await self._open(), theirs, tables)
        return [one.statement for one in done.not_usable]

    async def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            await self._connection.close()

    async def _own(self, connection: AsyncConnection, table: CopyTable) -> CopyTable:
        """The table as this database has it."""
        if table.name not in self._kinds:
            self._kinds[table.name] = next(iter(await fetch_rows(connection, is_plain(table))), (False, False))
        has_only, has_rules = self._kinds[table.name]
        # What a column makes of a value is found by reading back.
        columns = tuple(replace(column, exact=None) for column in table.columns)
        return replace(
            table,
            has_only=has_only,
            has_rules=has_rules,
            replaces_rows=table.replaces_rows or has_rules,
            columns=columns,
        )

    async def _open(self) -> AsyncConnection:
        if self._connection is None or self._connection.closed or self._connection.broken:
            self._connection = await connect(self._url, setting="--source", step=self._step)
            register_json_bytes(self._connection)
        return self._connection


async def _is_referred_to(connection: AsyncConnection, table: CopyTable) -> bool:
    """Whether a foreign key leads to the table: a deletion would be refused, or take the rows that refer to its row."""
    return bool(await fetch_value(connection, _REFERRED_TO, [named(connection, table.identifier)]))


@asynccontextmanager
async def open_postgres_writer(url: str, *, step: str, limits: Limits) -> AsyncIterator[PostgresWriter]:
    """A writer whose connection is made with the first statement.

    Args:
        url: as in --source.
        step: the name of the step, for `application_name`.
    """
    writer = PostgresWriter(url, step, limits)
    try:
        yield writer
    finally:
        await writer.close()
