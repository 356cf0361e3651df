"""PostgreSQL's own text of a value, turned into the Python value that psycopg gives for it.

Both backends end up with the same Python values because both use these loaders: psycopg on the rows of our
PostgreSQL, and `RowDecoder` on rows that PostgREST was asked for as text.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import time
from typing import Any

import psycopg
from psycopg import adapters, pq
from psycopg.adapt import AdaptersMap, Buffer, Loader
from psycopg.types.datetime import TimeBinaryLoader, TimeLoader
from sqlalchemy import ARRAY, Column
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

from app.errors import UnrepresentableValueError

# psycopg knows most types under the name that SQLAlchemy's compiler writes; these are the others.
_NAMES = {
    "INTEGER": "int4",
    "BIGINT": "int8",
    "SMALLINT": "int2",
    "BOOLEAN": "bool",
    "TIMESTAMP WITHOUT TIME ZONE": "timestamp",
    "TIMESTAMP WITH TIME ZONE": "timestamptz",
    "TIME WITHOUT TIME ZONE": "time",
}

_MIDNIGHT = (24 * 60 * 60 * 1_000_000).to_bytes(8)  # 24:00:00 in PostgreSQL's binary form

_decode_json = json.JSONDecoder().decode


class _JsonLoader(Loader):
    """The same as psycopg's, which has Python look first which of the Unicode encodings the bytes are in."""

    def load(self, data: Buffer) -> Any:
        return _decode_json(str(data, "utf-8"))


class _TimeOrMidnightLoader(TimeLoader):
    """Times, with PostgreSQL's 24:00:00, which Python lacks, as `time.max`."""

    def load(self, data: Buffer) -> time:
        return time.max if bytes(data) == b"24:00:00" else super().load(data)


class _JsonBinaryLoader(_JsonLoader):
    format = pq.Format.BINARY


class _JsonbBinaryLoader(_JsonLoader):
    format = pq.Format.BINARY

    def load(self, data: Buffer) -> Any:
        return super().load(data[1:])  # after the number of the form, which has been 1 ever since (jsonb_send)


class _TimeOrMidnightBinaryLoader(TimeBinaryLoader):
    def load(self, data: Buffer) -> time:
        return time.max if bytes(data) == _MIDNIGHT else super().load(data)


def register_loaders(adapters_map: AdaptersMap) -> None:
    """Add what psycopg's standard loaders lack to a connection's adapters."""
    adapters_map.register_loader("time", _TimeOrMidnightLoader)
    adapters_map.register_loader("json", _JsonLoader)
    adapters_map.register_loader("jsonb", _JsonLoader)
    adapters_map.register_loader("time", _TimeOrMidnightBinaryLoader)
    adapters_map.register_loader("json", _JsonBinaryLoader)
    adapters_map.register_loader("jsonb", _JsonbBinaryLoader)


class RowDecoder:
    """Decodes rows whose values are PostgreSQL's text, as PostgREST sends `select=name::text`.

    Args:
        columns: in the order of the values in a decoded row.
    """

    def __init__(self, columns: Sequence[Column[Any]]) -> None:
        own = AdaptersMap(adapters)
        register_loaders(own)
        self._loaders = [(column.name, _loader(own, column.type)) for column in columns]
        self._table = columns[0].table.name
        self._key = [column.name for column in columns[0].table.primary_key]

    def decode(self, record: Mapping[str, str | None]) -> list[Any]:
        """The Python values of one row, NULL as None.

        Raises:
            UnrepresentableValueError: names table, key and column of the first value that Python cannot hold.
        """
        values: list[Any] = []
        for name, load in self._loaders:
            text = record[name]
            try:
                values.append(None if text is None else load(text.encode()))
            except (psycopg.DataError, ValueError, OverflowError, RecursionError):
                key = ", ".join(str(record.get(part)) for part in self._key)
                raise UnrepresentableValueError(table=self._table, key=key, column=name) from None
        return values


def _loader(own: AdaptersMap, sql_type: TypeEngine[Any]) -> Callable[[bytes], Any]:
    array = isinstance(sql_type, ARRAY)
    element = sql_type.item_type if isinstance(sql_type, ARRAY) else sql_type
    written = element.compile(dialect=postgresql.dialect()).partition("(")[0].strip()  # type: ignore[no-untyped-call]
    info = adapters.types.get(_NAMES.get(written, written.lower()))
    oid = info and (info.array_oid if array else info.oid)
    if not oid or (loader := own.get_loader(oid, pq.Format.TEXT)) is None:
        raise TypeError(f"no loader for the column type {written}")
    return loader(oid, own).load
