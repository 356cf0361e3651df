"""Writers of a sync back to the source: what they do, over a connection and over REST."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from psycopg import AsyncConnection

from app.common.keys import Key
from app.errors import error_for_sqlstate
from app.migration.keys import keyed_rows
from app.migration.load import statements
from app.migration.retry import Limits
from app.migration.sources.rest.key_filters import key_groups, where_keys
from app.migration.sources.rest.rest_source import RestSource
from app.migration.sources.source import Page, key_of, records_of
from app.migration.tables.copy_table import CopyTable, named
from app.migration.tables.described_table import is_plain
from app.migration.target.followed_sequences import follow_other, read_other
from app.migration.target.sequences import raise_sequences
from app.migration.target.target_session import as_json
from app.state.fetching import fetch_rows, fetch_value, fetching
from app.stores.postgres.session import connect, source_errors
from app.stores.supabase.grammar import LONGEST_ADDRESS, alias, quoted_name
from app.stores.supabase.request_parameters import address_length, answered_with, without_columns

# Where a foreign key leads to a table, a deletion would be refused, or take the rows that refer to its row.
_REFERRED_TO = "SELECT EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND confrelid = to_regclass(%s))"


class PostgresWriter:
    """A Writer on a PostgreSQL, connected with its first statement; a lost connection is made again."""

    def __init__(self, url: str, limits: Limits) -> None:
        self._url = url
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
            parameters = [as_json(page.body)]
            async with connection.transaction():
                await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")  # a deferred one would speak up at the commit
                written = table = await self._own(connection, table)
                place = named(connection, table.identifier)
                if table.replaces_rows and await fetch_value(connection, _REFERRED_TO, [place]):
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
            self._connection = await connect(self._url, setting="--source", step="sync")
        return self._connection


# In place of a SQLSTATE: PostgREST takes a JSON null for SQL's NULL, so a JSON null cannot be sent.
JSON_NULL = "json_null"
# SQLSTATE generated_always: an identity column takes a value only from a statement that PostgREST does not make.
ALWAYS_GENERATED = "428C9"


class RestWriter:
    """A Writer on a Supabase project (or any PostgREST).

    A value is sent as a JSON string, which PostgreSQL feeds to the column's type as it is (its documentation, "JSON
    Functions", json_populate_record): numbers to the digit, arrays with their bounds. A JSON column's value is sent as
    the JSON that it is.
    """

    def __init__(self, source: RestSource) -> None:
        self._rest = source.rest
        self._heirs = source.heirs
        self.limits = source.limits

    def unsendable(self, table: CopyTable, record: dict[str, Any]) -> str | None:
        """A JSON column that holds JSON null."""
        for position, column in enumerate(table.columns):
            if column.is_json and (record[alias(position)] or "").strip() == "null":
                return column.name
        return None

    async def write(self, table: CopyTable, page: Page) -> None:
        """One request for all rows of a page; where an identity column is always generated, one for each row."""
        from postgrest import ReturnMethod  # heavy: only where it is used

        records = records_of(page.body)
        if table.always_identity:
            for record in records:
                await self._update(table, record)
            return
        if table.replaces_rows:
            await self.delete(table, [key_of(record, table) for record in records])
        builder = self._rest.table(table.relation_name, table.schema).upsert(
            [dict.fromkeys(table.names)],
            on_conflict=",".join(quoted_name(column.name) for column in table.key),
            returning=ReturnMethod.minimal,
        )
        if address_length(builder) > LONGEST_ADDRESS:  # without it, PostgREST takes the names from the first object
            without_columns(builder)
        body = ",".join(_object(table, record) for record in records)
        await self._rest.respond(builder, writing=True, content=f"[{body}]".encode())

    async def _update(self, table: CopyTable, record: dict[str, Any]) -> None:
        """Change a row that is there; one that is not cannot be inserted with its key."""
        rest = replace(table, columns=table.columns[table.key_size :], key_size=0)
        values = {alias(i): record[alias(i + table.key_size)] for i in range(len(rest.columns))}
        builder = self._rest.table(table.relation_name, table.schema).update({})
        where_keys(self._heirs.leave_out(builder, table), table, [key_of(record, table)])
        answered_with(builder, table.key[0].name)
        answer = await self._rest.respond(builder, writing=True, content=_object(rest, values).encode())
        if not records_of(answer.content):
            raise error_for_sqlstate(ALWAYS_GENERATED)

    async def delete(self, table: CopyTable, keys: Sequence[Key]) -> None:
        """As many requests as the keys need."""
        from postgrest import ReturnMethod

        bare = self._rest.table(table.relation_name, table.schema).delete(returning=ReturnMethod.minimal)
        for group in key_groups(sorted(keys), table, beside=address_length(bare)):
            builder = self._rest.table(table.relation_name, table.schema).delete(returning=ReturnMethod.minimal)
            where_keys(self._heirs.leave_out(builder, table), table, group)
            await self._rest.respond(builder, writing=True)

    async def raise_sequences(self, table: CopyTable) -> bool:
        """Not over REST."""
        return False


def _object(table: CopyTable, record: dict[str, Any]) -> str:
    fields = []
    for position, column in enumerate(table.columns):
        text = record[alias(position)]
        raw = text is None or column.is_json
        fields.append(f"{json.dumps(column.name)}:{'null' if text is None else text if raw else json.dumps(text)}")
    return f"{{{','.join(fields)}}}"


# A place that rows are written to. Each call is one try: a StoreError says that it failed, or may have. All rows of a
# page are written, or none; of a table that `replaces_rows` they are deleted and inserted.
SourceWriter = PostgresWriter | RestWriter
