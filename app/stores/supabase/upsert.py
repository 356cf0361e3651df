"""Upserts through PostgREST: the columns that were given, all rows or none, in one request."""

from collections.abc import Sequence
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

from sqlalchemy import JSON, Column

from app.common.keys import Key
from app.errors import OutcomeUnknownError, StoreError, UnrepresentableValueError
from app.models import store_filled
from app.stores.codec.json_rows import Values, by_shape, encode, in_key_order
from app.stores.codec.rows import key_of, natural_key
from app.stores.outgoing_write import OutgoingWrite
from app.stores.supabase.table import Record, SupabaseTable


async def upsert(table: SupabaseTable[Any], rows: Sequence[Values], write: OutgoingWrite) -> list[Any]:
    """Write the given columns of each row by the natural key; the stored rows, in the order given.

    Rows of one shape are written as they are. In a mixed batch PostgREST would overwrite what a row lacks, so what is
    stored is read first and written again: a change by somebody else between that read and the write, of a column
    that a row lacks, is lost. (JSON null, which PostgREST cannot be sent, becomes NULL there.)
    """
    key = natural_key(table.table)
    values_of = itemgetter(*key)
    in_order = in_key_order(table.table, rows)
    shapes = by_shape(table.table, in_order)
    names = [name for name in table.columns if any(name in shape for shape in shapes)]
    one_shape = len(shapes) == 1
    body = encode(in_order) if one_shape else await _filled(table, in_order, names)
    builder = (
        table.rest.table(table.table.name)
        .upsert([dict.fromkeys(names)], on_conflict=",".join(key), default_to_null=one_shape)
        .select(table.select_list)
    )
    response = await table.rest.respond(builder, writing=True, content=body.encode(), before_sending=write.leave)
    try:
        position = itemgetter(*[table.columns.index(name) for name in key])
        stored = {position(row): row for row in table.rows(response)}
        return [stored[values_of(row)] for row in rows]
    except UnrepresentableValueError as error:
        raise UnrepresentableValueError(table=error.table, key=error.key, column=error.column, written=True) from error
    except (StoreError, KeyError) as error:
        raise OutcomeUnknownError("Supabase's answer to a write does not hold the rows that were written") from error


async def _filled(table: SupabaseTable[Any], rows: Sequence[Values], names: Sequence[str]) -> str:
    """The body of a mixed batch: what a row lacks is what is stored, or the column's default in a new row.

    PostgREST knows the defaults too (`missing=default`), other servers do not; only a primary key is left to it.
    """
    columns = [table.table.c[name] for name in names]
    stored = await _stored(table, rows, names)
    texts = []
    for row in rows:
        known = stored.get(key_of(table.table, row))
        members = {}
        for column in columns:
            if column.name in row:
                members[column.name] = encode(row[column.name])
            elif known is not None:
                members[column.name] = _as_json(column, known[column.name])
            elif not column.primary_key:
                members[column.name] = _default(column)
        texts.append("{" + ",".join(f"{encode(name)}:{text}" for name, text in members.items()) + "}")
    return "[" + ",".join(texts) + "]"


async def _stored(table: SupabaseTable[Any], rows: Sequence[Values], names: Sequence[str]) -> dict[Key, Record]:
    """The stored rows, by their natural key, every value as PostgreSQL's text."""
    as_text = table.of_columns(["id", *(name for name in names if name != "id")])
    keys = [key_of(table.table, row) for row in rows]
    return {key_of(table.table, record): record for record in await as_text.of_keys(keys)}


def _as_json(column: Column[Any], text: str | None) -> str:
    """PostgreSQL's text as a member of a JSON object, for `json_to_recordset` to read: JSON as it is, to the digit."""
    if text is None:
        return "null"
    return text if isinstance(column.type, JSON) else encode(text)


def _default(column: Column[Any]) -> str:
    """A column's default as JSON: a constant, the time now, or null."""
    default = getattr(column.server_default, "arg", None)
    if default is None:
        return "null"
    return encode(datetime.now(UTC).replace(tzinfo=None)) if store_filled(column) else str(default)
