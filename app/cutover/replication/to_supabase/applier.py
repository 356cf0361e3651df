"""Brings rows, as PostgreSQL's text, to Supabase: the way back of a cutover.

A value is sent as a JSON string, which PostgreSQL feeds to the column's type as it is (its documentation, "JSON
Functions", json_populate_record): numbers to the digit. A JSON column's value is sent as the JSON that it is.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import JSON, Table

from app.common.keys import Key
from app.errors import ConflictError, OutcomeUnknownError, RejectedError
from app.models import Base
from app.stores.codec.json_rows import encode
from app.stores.codec.rows import key_of, natural_key
from app.stores.supabase.client import SupabaseRest
from app.stores.supabase.grammar import in_list, key_parts
from app.stores.supabase.request_parameters import address_length, where
from app.stores.supabase.table import Record, SupabaseTable


class SupabaseApplier:
    """Rows by natural key, with our ids.

    Args:
        timeout: seconds for one call of a method, however many requests it needs.
    """

    def __init__(self, rest: SupabaseRest, *, timeout: float) -> None:
        self._rest = rest
        self._timeout = timeout
        models = [mapper.class_ for mapper in Base.registry.mappers]
        self._tables = {model.__tablename__: SupabaseTable(rest, model, tuple) for model in models}

    def has(self, name: str) -> bool:
        """Whether there is a table of this name."""
        return name in self._tables

    def table(self, name: str) -> Table:
        """The table of this name."""
        return self._tables[name].table

    async def bring(self, name: str, rows: Mapping[Key, Record | None]) -> None:
        """Make Supabase's rows of these keys the given ones; those that are None are deleted.

        Can be repeated. PostgREST does all rows of a request or none.

        Raises:
            OutcomeUnknownError: some or all may have landed, or may still land.
            StoreError: another of its kinds; no request is under way, though some rows may have been brought.
        """
        try:
            async with asyncio.timeout(self._timeout):
                await self._bring(name, rows)
        except TimeoutError as error:
            raise OutcomeUnknownError(f"Supabase did not take a mirror within {self._timeout:g} s") from error

    async def differing(self, name: str, rows: Mapping[Key, Record | None]) -> list[Key]:
        """The keys whose rows at Supabase, read now, are not the given ones."""
        try:
            async with asyncio.timeout(self._timeout):
                stored = await self._stored(name, list(rows))
        except TimeoutError as error:
            raise OutcomeUnknownError(f"Supabase did not answer within {self._timeout:g} s") from error
        return [key for key, row in rows.items() if stored.get(key, []) != ([] if row is None else [row])]

    async def _bring(self, name: str, rows: Mapping[Key, Record | None]) -> None:
        await self._delete(name, [key for key, row in rows.items() if row is None])
        there = {key: row for key, row in rows.items() if row is not None}
        null = {key: names for key, row in there.items() if (names := self._null_columns(name, row))}
        if plain := {key: row for key, row in there.items() if key not in null}:
            await self._put_over(name, plain, self.table(name).c.keys())
        for key, names in null.items():
            await self._put_without(name, key, there[key], names)

    def _null_columns(self, name: str, row: Record) -> list[str]:
        """Columns that hold JSON null, which PostgREST takes for NULL."""
        return [c.name for c in self.table(name).c if isinstance(c.type, JSON) and row[c.name] == "null"]

    async def _put_without(self, name: str, key: Key, row: Record, left_out: Sequence[str]) -> None:
        await self._put_over(name, {key: row}, [column for column in row if column not in left_out])
        if stored := await self._stored(name, [key]):
            wrong = [column for column in left_out if stored[key][0][column] != "null"]
            if wrong:
                raise RejectedError(f"{name}.{wrong[0]} holds JSON null, which cannot be sent to Supabase")

    async def _put_over(self, name: str, rows: Mapping[Key, Record], columns: Sequence[str]) -> None:
        """Upsert by primary key; where the natural key has another id at Supabase, that row gets ours first."""
        try:
            await self._put(name, list(rows.values()), columns)
        except ConflictError:
            stored = await self._stored(name, list(rows))
            pairs = [(row["id"], rows[key]["id"]) for key, found in stored.items() for row in found]
            others = [(str(theirs), str(ours)) for theirs, ours in pairs if theirs != ours]
            if not others:
                raise
            for theirs, ours in others:
                await self._change_id(name, theirs, ours)
            await self._put(name, list(rows.values()), columns)

    async def _change_id(self, name: str, theirs: str, ours: str) -> None:
        """Give a row our id: to delete it instead would delete, by ON DELETE CASCADE, rows of others that refer to it.

        Where a row has our id already, and is about to be written over, the other one makes place all the same.
        """
        from postgrest import ReturnMethod

        builder = where(self._rest.table(name).update({}, returning=ReturnMethod.minimal), "id", "eq", theirs)
        try:
            await self._rest.respond(builder, writing=True, content=f'{{"id":{encode(ours)}}}'.encode())
        except ConflictError:
            await self._delete_where(name, "id", [theirs], {})

    async def _put(self, name: str, rows: Sequence[Record], columns: Sequence[str]) -> None:
        from postgrest import ReturnMethod  # heavy: only where it is used

        builder = self._rest.table(name).upsert(
            [dict.fromkeys(columns)], on_conflict="id", returning=ReturnMethod.minimal
        )
        json = {c.name for c in self.table(name).c if isinstance(c.type, JSON)}
        body = ",".join(_object(row, columns, json) for row in rows)
        await self._rest.respond(builder, writing=True, content=f"[{body}]".encode())

    async def _delete(self, name: str, keys: Sequence[Key]) -> None:
        """A request for the keys that are equal but for their first part."""
        first, *others = natural_key(self.table(name))
        groups: dict[Key, list[str]] = {}
        for key in keys:
            groups.setdefault(key[1:], []).append(key[0])
        for rest, firsts in groups.items():
            await self._delete_where(name, first, firsts, dict(zip(others, rest, strict=True)))

    async def _delete_where(self, name: str, column: str, values: Sequence[str], others: Mapping[str, str]) -> None:
        def deletion(values: Sequence[str]) -> Any:
            builder = self._rest.table(name).delete(returning=ReturnMethod.minimal)
            for other, value in others.items():
                where(builder, other, "in", in_list([value]))
            return where(builder, column, "in", in_list(list(values)))

        from postgrest import ReturnMethod

        for part in key_parts([(value,) for value in values], address_length(deletion([]))):
            await self._rest.respond(deletion([value for (value,) in part]), writing=True)

    async def _stored(self, name: str, keys: Sequence[Key]) -> dict[Key, list[Record]]:
        """Supabase's rows of these keys, as PostgreSQL's text."""
        table = self._tables[name]
        found: dict[Key, list[Record]] = {}
        for record in await table.of_keys(keys):
            found.setdefault(key_of(table.table, record), []).append(record)
        return found


def _object(row: Record, columns: Sequence[str], json: set[str]) -> str:
    members = []
    for name in columns:
        value = row[name]
        raw = "null" if value is None else value if name in json else encode(value)
        members.append(f"{encode(name)}:{raw}")
    return f"{{{','.join(members)}}}"
