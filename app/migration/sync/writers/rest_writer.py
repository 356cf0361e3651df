"""Writing rows to Supabase over its REST API: every value such that PostgreSQL converts it from its own text."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from app.common.keys import Key
from app.errors import error_for_sqlstate
from app.migration.sources.pages import key_of, records_of
from app.migration.sources.rest.key_filters import key_groups, where_keys
from app.migration.sources.rest.rest_source import RestSource
from app.migration.sources.source import Page
from app.migration.sync.writers.writer import ALWAYS_GENERATED
from app.migration.tables.copy_table import CopyTable
from app.stores.supabase.grammar import LONGEST_ADDRESS, alias, quoted_name
from app.stores.supabase.request_parameters import address_length, answered_with, without_columns

_JSON = {"json", "jsonb"}


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
            if column.type in _JSON and (record[alias(position)] or "").strip() == "null":
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
        raw = text is None or column.type in _JSON
        fields.append(f"{json.dumps(column.name)}:{'null' if text is None else text if raw else json.dumps(text)}")
    return f"{{{','.join(fields)}}}"
