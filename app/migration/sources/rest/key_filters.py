"""Filters of a request over REST: rows by their keys, so many as one address holds, and no heirs' rows."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from app.common.keys import Key
from app.errors import SchemaMismatchError
from app.migration.retry import Patiently
from app.migration.tables.copy_table import CopyTable, Heir
from app.stores.supabase.client import SupabaseRest
from app.stores.supabase.grammar import LONGEST_ADDRESS, in_list, listed_length
from app.stores.supabase.request_parameters import selected, where

_KEYS_A_REQUEST = 50
_KEY_BYTES_A_REQUEST = 2000


def where_keys(builder: Any, table: CopyTable, keys: Sequence[Key]) -> None:
    """Ask for the rows of one of the groups that `key_groups` makes."""
    for column, values in zip(table.key, zip(*keys, strict=True), strict=True):
        distinct = list(dict.fromkeys(values))
        # PostgREST takes `in.("")` for an empty list, so a single value is asked for with `eq`.
        single = len(distinct) == 1
        where(builder, column.name, "eq" if single else "in", distinct[0] if single else in_list(distinct))


def key_groups(keys: Sequence[Key], table: CopyTable, *, beside: int = 0) -> Iterator[list[Key]]:
    """Keys that one request can ask for: all columns but the last equal, and no more than an address can hold.

    Arrays are asked for one by one: PostgREST makes one array of a list, and PostgreSQL has no type for arrays of them.
    So are values of a type whose arrays have another delimiter than PostgREST's comma.

    Args:
        beside: bytes of the address without the keys.
    """
    last = table.key[-1]
    at_once = 1 if last.type.endswith("[]") or not last.listable else _KEYS_A_REQUEST
    for prefix, group in groupby(keys, key=lambda key: key[:-1]):
        held = sum(map(listed_length, prefix))
        most = min(_KEY_BYTES_A_REQUEST, LONGEST_ADDRESS - beside - held)
        wanted: list[Key] = []
        size = 0
        for key in group:
            length = listed_length(key[-1])
            if wanted and (size + length > most or len(wanted) == at_once):
                yield wanted
                wanted, size = [], 0
            wanted.append(key)
            size += length
        yield wanted


_MISSING = {"42P01", "PGRST205", "PGRST106"}


class Heirs:
    """Knows, of each table, which tables' rows are not its own."""

    def __init__(self, rest: SupabaseRest, patiently: Patiently) -> None:
        self._rest = rest
        self._patiently = patiently
        self._numbers: dict[str, list[str]] = {}  # by parent
        self._own: dict[Heir, str] = {}

    async def learn(self, table: CopyTable) -> None:
        """Ask the source for the numbers of the tables that inherit from this one; one without rows tells none."""
        numbers = self._numbers.setdefault(table.name, [])
        for heir in table.heirs:
            if not heir.last:
                while (number := await self._another(heir, numbers)) is not None:
                    numbers.append(number)
                continue
            if heir not in self._own and (number := await self._another(heir, [])) is not None:
                self._own[heir] = number
            if heir in self._own and self._own[heir] not in numbers:
                numbers.append(self._own[heir])

    def leave_out(self, builder: Any, table: CopyTable) -> Any:
        """Ask for the table's own rows."""
        for number in self._numbers.get(table.name, ()):
            builder.neq("tableoid", number)
        return builder

    async def _another(self, heir: Heir, known: list[str]) -> str | None:
        builder = selected(self._rest.table(heir.name, heir.schema), "_0:tableoid::text").limit(1)
        for number in known:
            builder.neq("tableoid", number)
        try:
            rows = await self._patiently(lambda: self._rest.rows(builder))
        except SchemaMismatchError as error:
            if error.sqlstate in _MISSING:
                return None
            raise
        return str(rows[0]["_0"]) if rows else None
