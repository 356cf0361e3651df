"""What is asked of a table over REST; its rows where one address cannot name all columns; how many it has."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

from app.common.keys import Key
from app.errors import CountTimeoutError, StoreTimeoutError, UnavailableError
from app.migration.retry import Patiently
from app.migration.sources.rest.key_filters import Heirs, key_groups, where_keys
from app.migration.sources.source import VERSION, Page, key_of, records_of
from app.migration.tables.copy_table import CopyColumn, CopyTable
from app.stores.supabase.answers import refuse_other_columns, refuse_other_count, rows_told, total_told
from app.stores.supabase.client import SupabaseRest
from app.stores.supabase.grammar import LONGEST_ADDRESS, alias, as_text, quoted_name
from app.stores.supabase.request_parameters import address_length, selected


@dataclass(frozen=True, slots=True)
class PageQuestion:
    """What is asked of a table.

    Attributes:
        columns: the key's first.
        versions: its rows' versions too.
        backwards: from the last key to the first.
        as_rows: what comes counts as rows for the rate: not where only the keys are listed as a proof.
    """

    table: CopyTable
    columns: Sequence[CopyColumn]
    versions: bool
    backwards: bool = False
    as_rows: bool = True

    @property
    def select(self) -> str:
        """The select list."""
        listed = as_text([column.name for column in self.columns])
        return f"{listed},{version_item(self.table)}" if self.versions else listed

    @property
    def names(self) -> Set[str]:
        """The names that the answers' rows have."""
        return {alias(position) for position in range(len(self.columns))} | ({VERSION} if self.versions else set())


def version_item(table: CopyTable) -> str:
    """The item of a select list that asks for the rows' versions."""
    return f"{VERSION}:{quoted_name(table.version)}::text"


_TRIES = 5
_SELECT_BESIDE_KEYS = 2000  # bytes of a select list in an address that names keys too
_Record = dict[str, Any]
Request = Callable[[str], Any]  # the builder of a request, for a select list
Read = Callable[[Any, int], Awaitable[tuple[bytes, int | None] | None]]  # see `SupabaseRest.read_at_most`


class PartReader:
    """Reads one table's rows in parts.

    The parts of a row are read at different moments. So each has the row's version too, and a row whose parts are of
    different versions is read again.

    Args:
        selected: a request for the table's rows, without a filter.
        is_versioned: the source tells one version of a row from another.
    """

    def __init__(self, read: Read, selected: Request, question: PageQuestion, *, is_versioned: bool) -> None:
        self._send = read
        self._selected = selected
        self._table = question.table
        self._names = question.names
        items = [f"{alias(i)}:{quoted_name(column.name)}::text" for i, column in enumerate(question.columns)]
        self._always = items[: self._table.key_size]
        if is_versioned:
            self._always.append(version_item(self._table))
        self._others = items[self._table.key_size :]

    async def page(self, request: Request, most_bytes: int) -> Page | None:
        """The rows of one request; None for no row.

        Raises:
            TooHeavyError: a part has more bytes than it may have.
            UnavailableError: the rows change faster than their parts are read, or an answer is not whole.
        """
        while True:
            first, *rest = self._parts(LONGEST_ADDRESS - address_length(request("")))
            rows = await self._read(request, first, most_bytes)
            if not rows:
                return None
            whole = set(rows)
            for items in rest:
                whole &= _join(rows, await self._read(request, items, most_bytes))
            if torn := [key for key in rows if key not in whole]:
                again = await self.by_key(torn)
                rows = {key: again.get(key, row) for key, row in rows.items() if key in whole or key in again}
            if rows:  # else all of them have gone from the source meanwhile, and others may follow
                return self.joined(rows.values())

    async def by_key(self, keys: Sequence[Key]) -> dict[Key, _Record]:
        """The rows of these keys that exist; a server that cuts an answer is asked for the rest."""
        found: dict[Key, _Record] = {}
        for group in key_groups(keys, self._table, beside=address_length(self._selected("")) + _SELECT_BESIDE_KEYS):
            found |= await self._group(group)
        return found

    async def _group(self, wanted: list[Key]) -> dict[Key, _Record]:
        found: dict[Key, _Record] = {}
        failures = 0
        while wanted:

            def request(select: str, wanted: list[Key] = wanted) -> Any:
                builder = self._selected(select)
                where_keys(builder, self._table, wanted)
                for column in self._table.key:
                    builder = builder.order(quoted_name(column.name))
                return builder

            first, *rest = self._parts(LONGEST_ADDRESS - address_length(request("")))
            rows = await self._read(request, first)
            if rows.keys().isdisjoint(wanted):
                break
            whole = set(rows)
            for items in rest:
                whole &= _join(rows, await self._read(request, items))
            found |= {key: rows[key] for key in whole}
            wanted = [key for key in wanted if key not in whole]
            failures = 0 if whole else failures + 1
            if failures == _TRIES:
                raise UnavailableError("rows change faster than the parts of their columns can be read")
        return found

    def joined(self, rows: Iterable[_Record]) -> Page:
        """A page of joined rows."""
        records = [{name: value for name, value in row.items() if name in self._names} for row in rows]
        body = json.dumps(records, ensure_ascii=False, separators=(",", ":")).encode()
        return Page(body, len(records), key_of(records[-1], self._table))

    async def _read(self, request: Request, items: list[str], most_bytes: int = 2**62) -> dict[Key, _Record]:
        answer = await self._send(request(",".join(items)), most_bytes)
        if answer is None:
            raise TooHeavyError
        body, told = answer
        records = records_of(body)
        refuse_other_count(len(records), told)
        refuse_other_columns(records, {item.partition(":")[0] for item in items})
        return {key_of(record, self._table): record for record in records}

    def _parts(self, room: int) -> list[list[str]]:
        """The items of select lists that name all columns between them, each within so many bytes where that can be."""
        always = sum(map(_length, self._always))
        parts: list[list[str]] = []
        size = 0
        for item in self._others:
            if not parts or size + _length(item) > room:
                parts.append([*self._always])
                size = always
            parts[-1].append(item)
            size += _length(item)
        return parts or [self._always]


class TooHeavyError(Exception):
    """A part of a page has more bytes than it may have."""


def _join(rows: dict[Key, _Record], part: dict[Key, _Record]) -> set[Key]:
    """Add a part to the rows that it is of the same version as; gives their keys."""
    same = {key for key, record in part.items() if key in rows and rows[key].get(VERSION) == record.get(VERSION)}
    for key in same:
        rows[key] |= part[key]
    return same


def _length(item: str) -> int:
    """Bytes of a select list's item in an address, with the comma after it."""
    return len(quote(item, safe="")) + 3


_Answer = TypeVar("_Answer")


async def count_in_time(patiently: Patiently, name: str, ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
    """The answer of a count, which is not asked for again where it takes too long: one timeout, or two of a gateway.

    Raises:
        CountTimeoutError: it takes too long.
    """
    by_gateway = 0

    async def once() -> _Answer:
        nonlocal by_gateway
        try:
            return await ask()
        except StoreTimeoutError as error:
            if error.sqlstate not in {None, "57014"}:  # a lock or a deadlock passes
                raise
            raise CountTimeoutError(f"counting {name} took too long: {error}") from error
        except UnavailableError as error:
            by_gateway += "[HTTP 504]" in str(error)
            if by_gateway > 1:
                raise CountTimeoutError(f"counting {name} took too long: {error}") from error
            raise

    return await patiently(once)


class RowCounter:
    """Counts exactly, and does not ask twice where that took too long.

    Args:
        tell: called with a sentence where a table cannot be counted.
    """

    def __init__(self, rest: SupabaseRest, patiently: Patiently, heirs: Heirs, tell: Callable[[str], None]) -> None:
        self._rest = rest
        self._heirs = heirs
        self._patiently = patiently
        self._tell = tell
        self._given_up: set[str] = set()

    async def count(self, table: CopyTable) -> int:
        """Exact number of rows, from the Content-Range of a page of one row.

        Raises:
            CountTimeoutError: it took too long, now or before.
        """

        async def ask() -> int:
            total, rows = await self._ask(table, "exact")
            if total is None or (total == 0) != (rows == 0):
                raise UnavailableError("Supabase gave no exact count")
            return total

        if table.name in self._given_up:
            raise CountTimeoutError(f"counting {table.name} took too long before")
        try:
            return await count_in_time(self._patiently, table.name, ask)
        except CountTimeoutError:
            self._given_up.add(table.name)
            self._tell(
                f"{table.name}: the exact count took longer than the API lets it; the keys are listed instead, which "
                "takes longer. Better: --source postgresql://..., where nothing is cut off"
            )
            raise

    async def estimate(self, table: CopyTable) -> int | None:
        """About how many rows there are, as PostgreSQL's planner thinks; None where the server does not say."""
        return (await self._patiently(lambda: self._ask(table, "planned")))[0]

    async def _ask(self, table: CopyTable, kind: str) -> tuple[int | None, int]:
        request = self._rest.table(table.relation_name, table.schema)
        await self._heirs.learn(table)
        builder = self._heirs.leave_out(selected(request, quoted_name(table.key[0].name)), table).limit(1)
        response = await self._rest.respond(builder, headers={"Prefer": f"count={kind}"})
        rows = len(records_of(response.content))
        refuse_other_count(rows, rows_told(response.headers))
        return total_told(response.headers), rows
