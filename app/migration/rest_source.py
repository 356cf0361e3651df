"""Rows from Supabase over its REST API: every column as text, pages by primary key, bytes untouched."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import stamina

from app.errors import StoreError, StoreTimeoutError, UnavailableError
from app.migration.source import Key, Page
from app.migration.tables import CopyColumn, CopyTable
from app.rest import SupabaseRest, alias, as_text, in_list, quoted_name

_Answer = TypeVar("_Answer")
_KEYS_A_REQUEST = 50
_KEY_BYTES_A_REQUEST = 2000  # with the select list, keeps the address of a request under what proxies take


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is asked for at once, and how often again.

    Attributes:
        page_rows: rows of a page at most; the server's own cap may be lower.
        page_bytes: bytes of a page to aim at; a page of twice as many is asked for again in halves.
        attempts: tries of one request, the first included.
        wait_initial, wait_max: seconds of the first and the longest wait between tries.
    """

    page_rows: int = 2000
    page_bytes: int = 4_000_000
    attempts: int = 8
    wait_initial: float = 0.5
    wait_max: float = 30.0


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
        self._rest = rest
        self._limits = limits or Limits()
        self._on_retry = on_retry
        self._host = urlsplit(url.strip()).netloc.rpartition("@")[2]

    @property
    def label(self) -> str:
        """The host of the project."""
        return self._host

    async def count(self, table: CopyTable) -> int:
        """Exact number of rows, from the Content-Range of an empty page."""

        async def ask() -> int:
            builder = self._rest.table(table.name).select(quoted_name(table.key[0].name)).limit(1)
            response = await self._rest.respond(builder, headers={"Prefer": "count=exact"})
            total = response.headers.get("content-range", "").rpartition("/")[2]
            if not total.isdigit():
                raise UnavailableError("Supabase gave no exact count")
            return int(total)

        return await self._patiently(ask)

    async def pages(self, table: CopyTable, *, after: Key | None = None) -> AsyncIterator[Page]:
        """All rows behind a key, in the order of the primary key as the source sorts it."""
        async for page in self._walk(table, table.columns, after):
            yield page

    async def key_pages(self, table: CopyTable) -> AsyncIterator[Page]:
        """The primary keys of all rows."""
        async for page in self._walk(table, table.key, None, rows=10 * self._limits.page_rows):
            yield page

    async def rows_by_key(self, table: CopyTable, keys: Sequence[Key]) -> AsyncIterator[Page]:
        """The rows of these keys that exist; a server that cuts an answer is asked for the rest."""
        for wanted in _key_groups(keys):
            while wanted:

                async def ask(wanted: list[Key] = wanted) -> list[dict[str, Any]]:
                    builder = self._rest.table(table.name).select(as_text(table.names))
                    for column, values in zip(table.key, zip(*wanted, strict=True), strict=True):
                        distinct = list(dict.fromkeys(values))
                        # PostgREST takes `in.("")` for an empty list, so a single value is asked for with `eq`.
                        single = len(distinct) == 1
                        _where(builder, column, "eq" if single else "in", distinct[0] if single else in_list(distinct))
                    return _records(await self._rest.send(builder))

                records = await self._patiently(ask)
                found = {_key_of(record, table) for record in records}
                if found.isdisjoint(wanted):
                    break
                wanted = [key for key in wanted if key not in found]
                yield Page(json.dumps(records).encode(), len(records), _key_of(records[-1], table))

    async def _walk(
        self, table: CopyTable, columns: Sequence[CopyColumn], after: Key | None, *, rows: int | None = None
    ) -> AsyncIterator[Page]:
        """Keyset paging: a composite key by prefix, all columns but the last equal and the last greater.

        When a prefix has no more rows, one column fewer is held equal; an empty page with none held is the end. A page
        shorter than asked for says nothing: the server's row cap may be lower.
        """
        size = _PageSize(replace(self._limits, page_rows=rows) if rows else self._limits)
        held = table.key_size - 1
        number, landmark = 0, after
        while True:
            page = await self._page(table, columns, after, held if after else 0, size)
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

    async def _page(
        self, table: CopyTable, columns: Sequence[CopyColumn], after: Key | None, held: int, size: _PageSize
    ) -> Page | None:
        names = [column.name for column in columns]

        def request() -> Any:
            builder: Any = self._rest.table(table.name).select(as_text(names)).limit(size.rows)
            for column, value in zip(table.key[:held], after or (), strict=False):
                _where(builder, column, "eq", value)
            if after:
                _where(builder, table.key[held], "gt", after[held])
            for column in table.key[held:]:
                builder = builder.order(quoted_name(column.name))
            return builder

        async def ask() -> Page | None:
            try:
                body = await self._rest.read_at_most(request(), size.most_bytes)
            except StoreTimeoutError:
                size.too_slow()
                raise
            while body is None:
                size.too_heavy()
                body = await self._rest.read_at_most(request(), size.most_bytes)
            return read_page(body, table)

        page = await self._patiently(ask)
        if page is not None:
            size.learn(page)
        return page

    async def _patiently(self, ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """Try again what can pass: rates, gateways, lost connections, timeouts; with Retry-After where it was given."""

        limits = self._limits
        failures = 0

        def passing(error: Exception) -> bool | float:
            nonlocal failures
            if not isinstance(error, UnavailableError | StoreTimeoutError):
                return False
            failures += 1
            wait = min(error.retry_after, 300.0) if isinstance(error, UnavailableError) and error.retry_after else None
            if failures < limits.attempts:
                again = "trying again" if wait is None else f"trying again in {wait:.0f} s"
                self._on_retry(f"{self._host}: {error}; {again} ({failures} of {limits.attempts - 1})")
            return True if wait is None else wait

        async for attempt in stamina.retry_context(
            on=passing,
            attempts=limits.attempts,
            timeout=None,
            wait_initial=limits.wait_initial,
            wait_max=limits.wait_max,
            wait_jitter=limits.wait_initial,
        ):
            with attempt:
                return await ask()
        raise AssertionError("unreachable: the last attempt returns or raises")


class _PageSize:
    """How many rows to ask for: grows toward the limits with what pages turned out to weigh, shrinks on trouble."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._most = limits.page_rows
        self.rows = min(200, limits.page_rows)

    @property
    def most_bytes(self) -> int:
        """Bytes past which a page is asked for again in halves; a single row may have any size."""
        return 2 * self._limits.page_bytes if self.rows > 1 else 2**62

    def too_slow(self) -> None:
        """Ask for half as many rows from now on."""
        self.rows = self._most = max(1, self.rows // 2)

    def too_heavy(self) -> None:
        """Ask for half as many rows next; those behind them may be lighter again."""
        self.rows = max(1, self.rows // 2)

    def learn(self, page: Page) -> None:
        """Fit the next page to the bytes a row of this one took."""
        fitting = int(self._limits.page_bytes * page.rows / len(page.body))
        self.rows = max(1, min(self._most, fitting, 8 * self.rows))


def read_page(body: bytes, table: CopyTable) -> Page | None:
    """Count a page's rows and read its last key, without decoding the rest; None for an empty page.

    A record begins with `{"_0":"`, and that sequence cannot occur inside a JSON string: there a quote is escaped.

    Raises:
        UnavailableError: cut short, or written by something other than PostgREST; likely to pass.
    """
    if not (body.lstrip().startswith(b"[") and body.rstrip().endswith(b"]")):
        raise UnavailableError("Supabase answered with something that is not a JSON array of rows")
    begin = f'{{"{alias(0)}":"'.encode()
    rows = body.count(begin)
    if rows:
        try:
            last = json.loads(body[body.rindex(begin) : body.rindex(b"]")])
            return Page(body, rows, _key_of(last, table))
        except ValueError:
            pass  # not written as PostgREST writes it: decode it whole
    records = _records(body)
    return Page(body, len(records), _key_of(records[-1], table)) if records else None


def _key_of(record: dict[str, Any], table: CopyTable) -> Key:
    try:
        return tuple(record[alias(position)] for position in range(table.key_size))
    except (KeyError, TypeError):
        raise StoreError("Supabase answered with rows that lack the columns asked for") from None


def _records(body: bytes) -> list[dict[str, Any]]:
    try:
        records = json.loads(body)
    except ValueError as error:
        raise UnavailableError("Supabase answered with something that is not JSON") from error
    if not isinstance(records, list):
        raise UnavailableError("Supabase answered with something that is not a JSON array of rows")
    return records


def _where(builder: Any, column: CopyColumn, operator: str, operand: str) -> None:
    """Add a filter. The builder's own methods would quote a quoted name once more."""
    builder.request.params = builder.request.params.add(quoted_name(column.name), f"{operator}.{operand}")


def _key_groups(keys: Sequence[Key]) -> Iterator[list[Key]]:
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
