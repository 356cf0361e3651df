"""Rows from Supabase over its REST API: every column as text, pages by primary key, bytes untouched."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from app.errors import SchemaMismatchError, StoreError, StoreTimeoutError, UnavailableError
from app.migration.pages import Limits, PageSize, key_of, read_page, records_of, refuse_other_columns
from app.migration.retry import patiently
from app.migration.source import VERSION, Key, Page
from app.migration.tables import CopyColumn, CopyTable
from app.rest import SupabaseRest, refuse_other_count, rows_told
from app.rest_grammar import alias, as_text, in_list, quoted_name, selected

_Answer = TypeVar("_Answer")
_KEYS_A_REQUEST = 50
_KEY_BYTES_A_REQUEST = 2000  # with the select list, keeps the address of a request under what proxies take


class RestSource:
    """A Source on a Supabase project (or any PostgREST).

    Args:
        rest: an open connection.
        url: the project's URL, for messages.
        on_retry: called with a sentence each time that a request is to be tried again.
    """

    def __init__(
        self,
        rest: SupabaseRest,
        url: str,
        *,
        limits: Limits | None = None,
        on_retry: Callable[[str], None] = lambda message: None,
    ) -> None:
        self.rest = rest
        self.limits = limits or Limits()
        self.on_retry = on_retry
        self._host = urlsplit(url.strip()).netloc.rpartition("@")[2]

    @property
    def label(self) -> str:
        """The host of the project."""
        return self._host

    @property
    def setting(self) -> str:
        """The setting that names it."""
        return "SUPABASE_URL"

    async def count(self, table: CopyTable) -> int:
        """Exact number of rows, from the Content-Range of an empty page."""

        async def ask() -> int:
            builder = self._selected(table, quoted_name(table.key[0].name)).limit(1)
            response = await self.rest.respond(builder, headers={"Prefer": "count=exact"})
            total = response.headers.get("content-range", "").rpartition("/")[2]
            rows = len(records_of(response.content))
            refuse_other_count(rows, rows_told(response.headers))
            if not (total.isascii() and total.isdecimal()) or (int(total) == 0) != (rows == 0):
                raise UnavailableError("Supabase gave no exact count")
            return int(total)

        return await self.patiently(ask)

    async def has_versions(self, table: CopyTable) -> bool:
        """Whether the rows' xmin can be had: not where the source's table is a view."""

        async def ask() -> bool:
            try:
                await self.rest.send(self._selected(table, _versions(table)).limit(0))
            except SchemaMismatchError as error:
                if error.sqlstate == "42703":
                    return False
                raise
            return True

        return await self.patiently(ask)

    async def pages(self, table: CopyTable, *, after: Key | None = None, versions: bool = False) -> AsyncIterator[Page]:
        """All rows behind a key, in the order of the primary key as the source sorts it."""
        async for page in self._walk(table, table.columns, after, versions=versions):
            yield page

    async def key_pages(self, table: CopyTable, *, versions: bool = False) -> AsyncIterator[Page]:
        """The keys of all rows that a walk in the order of the key comes to."""
        async for page in self._walk(table, table.key, None, versions=versions, rows=10 * self.limits.page_rows):
            yield page

    async def rows_by_key(
        self, table: CopyTable, keys: Sequence[Key], *, versions: bool = False, listed: bool = False
    ) -> AsyncIterator[Page]:
        """The rows of these keys that the server finds; one that cuts an answer is asked for the rest."""
        for wanted in key_groups(keys):
            while wanted:

                async def ask(wanted: list[Key] = wanted) -> list[dict[str, Any]]:
                    builder = self._selected(table, _select(table, table.columns, versions))
                    where_keys(builder, table, wanted)
                    response = await self.rest.respond(builder)
                    records = records_of(response.content)
                    refuse_other_count(len(records), rows_told(response.headers))
                    refuse_other_columns(records, _names(table.columns, versions))
                    return records

                records = await self.patiently(ask)
                found = {key_of(record, table) for record in records}
                if found.isdisjoint(wanted):
                    break
                wanted = [key for key in wanted if key not in found]
                yield Page(json.dumps(records).encode(), len(records), key_of(records[-1], table))

    async def _walk(
        self,
        table: CopyTable,
        columns: Sequence[CopyColumn],
        after: Key | None,
        *,
        versions: bool,
        rows: int | None = None,
    ) -> AsyncIterator[Page]:
        """Keyset paging: a composite key by prefix, all columns but the last equal and the last greater.

        When a prefix has no more rows, one column fewer is held equal; an empty page with none held is the end. A page
        shorter than asked for says nothing: the server's row cap may be lower.
        """
        size = PageSize(replace(self.limits, page_rows=rows) if rows else self.limits)
        question = _Question(table, _select(table, columns, versions), _names(columns, versions))
        held = table.key_size - 1
        number, landmark = 0, after
        while True:
            page = await self._page(question, after, held if after else 0, size)
            if page is not None:
                after, held = page.last_key, table.key_size - 1
                if after == landmark:
                    raise StoreError("Supabase gives the same rows again where those behind them were asked for")
                number += 1
                if number & (number - 1) == 0:  # landmarks at powers of two find a circle of any length (Brent)
                    landmark = after
                yield page
            elif after is None or held == 0:
                return
            else:
                held -= 1

    async def _page(self, question: _Question, after: Key | None, held: int, size: PageSize) -> Page | None:
        table = question.table

        def request() -> Any:
            builder: Any = self._selected(table, question.select).limit(size.rows)
            for column, value in zip(table.key[:held], after or (), strict=False):
                where(builder, column, "eq", value)
            if after:
                where(builder, table.key[held], "gt", after[held])
            for column in table.key[held:]:
                builder = builder.order(quoted_name(column.name))
            return builder

        async def ask() -> Page | None:
            try:
                answer = await self.rest.read_at_most(request(), size.most_bytes)
            except StoreTimeoutError:
                size.too_slow()
                raise
            while answer is None:
                size.too_heavy()
                answer = await self.rest.read_at_most(request(), size.most_bytes)
            body, told = answer
            page = read_page(body, table, question.names)
            refuse_other_count(page.rows if page else 0, told)
            return page

        page = await self.patiently(ask)
        if page is not None:
            size.learn(page)
        return page

    def _selected(self, table: CopyTable, select: str) -> Any:
        return selected(self.rest.table(table.relation_name, table.schema), select)

    async def patiently(self, ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """The answer to a request that is tried again where its failure can pass."""
        return await patiently(ask, self.limits, self.on_retry, self._host)


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked of a table: a select list, and the names that its answers' rows have."""

    table: CopyTable
    select: str
    names: Set[str]


def _names(columns: Sequence[CopyColumn], versions: bool) -> Set[str]:
    names = {alias(position) for position in range(len(columns))}
    return names | {VERSION} if versions else names


def _select(table: CopyTable, columns: Sequence[CopyColumn], versions: bool) -> str:
    text = as_text([column.name for column in columns])
    return f"{text},{_versions(table)}" if versions else text


def _versions(table: CopyTable) -> str:
    return f"{VERSION}:{quoted_name(table.version)}::text"


def where_keys(builder: Any, table: CopyTable, keys: Sequence[Key]) -> None:
    """Ask for the rows of one of the groups that `key_groups` makes."""
    for column, values in zip(table.key, zip(*keys, strict=True), strict=True):
        distinct = list(dict.fromkeys(values))
        # PostgREST takes `in.("")` for an empty list, so a single value is asked for with `eq`.
        single = len(distinct) == 1
        where(builder, column, "eq" if single else "in", distinct[0] if single else in_list(distinct))


def where(builder: Any, column: CopyColumn, operator: str, operand: str) -> None:
    """Add a filter. The builder's own methods would quote a quoted name once more."""
    builder.request.params = builder.request.params.add(quoted_name(column.name), f"{operator}.{operand}")


def key_groups(keys: Sequence[Key]) -> Iterator[list[Key]]:
    """Keys that one request can ask for: all columns but the last equal, and no more than an address can hold."""
    for _, group in groupby(keys, key=lambda key: key[:-1]):
        wanted: list[Key] = []
        size = 0
        for key in group:
            length = len(quote(key[-1])) + 8
            if wanted and (size + length > _KEY_BYTES_A_REQUEST or len(wanted) == _KEYS_A_REQUEST):
                yield wanted
                wanted, size = [], 0
            wanted.append(key)
            size += length
        yield wanted
