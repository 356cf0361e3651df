"""Rows from Supabase over its REST API: every column as text, pages by primary key, bytes untouched."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import Any, TypeVar

from app.common.keys import Key
from app.errors import MigrationError, SchemaMismatchError, StoreError, StoreTimeoutError
from app.migration.retry import Limits, patiently
from app.migration.sources.pace import Pace
from app.migration.sources.rest.key_filters import Heirs, key_groups, where_keys
from app.migration.sources.rest.part_reader import PageQuestion, PartReader, RowCounter, TooHeavyError, version_item
from app.migration.sources.source import Page, PageSize, key_of, read_page, records_of
from app.migration.tables.copy_table import CopyTable
from app.next_step import NextStep
from app.stores.postgres.database_url import source_label
from app.stores.supabase.answers import refuse_other_columns, refuse_other_count, rows_told
from app.stores.supabase.client import SupabaseRest
from app.stores.supabase.grammar import LONGEST_ADDRESS, quoted_name
from app.stores.supabase.request_parameters import address_length, selected, where

_Answer = TypeVar("_Answer")
_KEYS_BESIDE_SELECT = 600  # bytes of an address that are left for keys at least
_ROWS_IN_PARTS = 200


class RestSource:
    """A Source on a Supabase project (or any PostgREST).

    Args:
        rest: an open connection.
        url: the project's URL, for messages.
        on_retry: called with a sentence each time that a request is to be tried again.
        pace: how much may be asked; None: as much as it gives.

    Attributes:
        label: the host of the project.
        setting: what names its address.
    """

    def __init__(
        self,
        rest: SupabaseRest,
        url: str,
        *,
        limits: Limits | None = None,
        on_retry: Callable[[str], None] = lambda message: None,
        pace: Pace | None = None,
    ) -> None:
        self.rest = rest
        self.pace = pace or Pace()
        self.limits = self.pace.limits(limits or Limits())
        self.on_retry = on_retry
        self.label = source_label(url)
        self.setting = "SUPABASE_URL"
        self._versioned: dict[tuple[str, str], bool] = {}  # tables read in parts, by name and column of the version
        self.told_settings: set[str] = set()  # those whose values were seen to be right: see text_settings
        self.heirs = Heirs(rest, self.patiently)
        self._counter = RowCounter(rest, self.patiently, self.heirs, on_retry)

    async def count(self, table: CopyTable) -> int:
        """Exact number of rows, from the Content-Range of a page of one row.

        Raises:
            CountTimeoutError: it took too long, now or before; it is not tried again.
        """
        return await self._counter.count(table)

    async def estimate(self, table: CopyTable) -> int | None:
        """About how many rows there are, as PostgreSQL's planner thinks; None where the server does not say."""
        return await self._counter.estimate(table)

    async def has_versions(self, table: CopyTable) -> bool:
        """Whether the rows' xmin can be had: not where the source's table is a view."""

        async def ask() -> bool:
            try:
                await self.rest.send(self._selected(table, version_item(table)).limit(0))
            except SchemaMismatchError as error:
                if error.sqlstate == "42703":
                    return False
                raise
            return True

        return await self.patiently(ask)

    async def pages(self, table: CopyTable, *, after: Key | None = None, versions: bool = False) -> AsyncIterator[Page]:
        """All rows after a key, in the order of the primary key as the source sorts it."""
        async for page in self._walk(PageQuestion(table, table.columns, versions), after):
            yield page

    async def key_pages(
        self, table: CopyTable, *, versions: bool = False, as_rows: bool = False, backwards: bool = False
    ) -> AsyncIterator[Page]:
        """The keys of all rows that a walk in the order of the key comes to.

        Args:
            as_rows: each counts as a row for the rate.
            backwards: from the last key to the first, which would leave out other rows than the first walk.
        """
        question = PageQuestion(table, table.key, versions, backwards=backwards, as_rows=as_rows)
        most = 10 * self.limits.page_rows
        async for page in self._walk(question, None, rows=self.pace.most_rows(most) if as_rows else most):
            yield page

    async def rows_by_key(
        self, table: CopyTable, keys: Sequence[Key], *, versions: bool = False, listed: bool = False
    ) -> AsyncIterator[Page]:
        """The rows of these keys that the server finds; one that cuts an answer is asked for the rest."""
        await self.heirs.learn(table)
        question = PageQuestion(table, table.columns, versions)
        beside = address_length(self._selected(table, question.select))
        if beside > LONGEST_ADDRESS - _KEYS_BESIDE_SELECT and len(table.columns) > table.key_size:
            async for page in self._parts_by_key(question, keys):
                yield page
            return
        for group in key_groups(keys, table, beside=beside):
            waiting = [group]
            while waiting:
                wanted = waiting.pop()

                async def ask(wanted: list[Key] = wanted) -> list[dict[str, Any]]:
                    builder = self._selected(table, question.select)
                    where_keys(builder, table, wanted)
                    response = await self.rest.respond(builder)
                    records = records_of(response.content)
                    self.pace.count(rows=len(records), size=len(response.content))
                    refuse_other_count(len(records), rows_told(response.headers))
                    refuse_other_columns(records, question.names)
                    return records

                records = await self.patiently(ask)
                if not records:
                    continue
                yield Page(json.dumps(records).encode(), len(records), key_of(records[-1], table))
                found = {key_of(record, table) for record in records}
                rest = [key for key in wanted if key not in found]
                if len(rest) < len(wanted):
                    waiting += [rest] if rest else []
                elif len(records) < len(wanted):
                    # The source writes them otherwise, as moments in another time zone: which of them came is not seen.
                    middle = len(wanted) // 2
                    waiting += [wanted[:middle], wanted[middle:]]

    async def _walk(self, question: PageQuestion, after: Key | None, *, rows: int | None = None) -> AsyncIterator[Page]:
        """Keyset paging: a composite key by prefix, all columns but the last equal and the last greater.

        When a prefix has no more rows, one column fewer is held equal; an empty page with none held is the end. A page
        shorter than asked for says nothing: the server's row cap may be lower.
        """
        table = question.table
        size = PageSize(replace(self.limits, page_rows=rows) if rows else self.limits)
        await self.heirs.learn(table)
        held = table.key_size - 1
        number, landmark = 0, after
        while True:
            page = await self._page(question, after, held if after else 0, size)
            if page is not None:
                after, held = page.last_key, table.key_size - 1
                _refuse_null(after, table)
                if after == landmark:
                    raise StoreError("Supabase gives the same rows again where those after them were asked for")
                number += 1
                if number & (number - 1) == 0:  # landmarks at powers of two find a circle of any length (Brent)
                    landmark = after
                yield page
            elif after is None or held == 0:
                return
            else:
                held -= 1

    async def _page(self, question: PageQuestion, after: Key | None, held: int, size: PageSize) -> Page | None:
        table = question.table

        def request(select: str = question.select) -> Any:
            builder: Any = self._selected(table, select).limit(size.rows)
            for column, value in zip(table.key[:held], after or (), strict=False):
                where(builder, column.name, "eq", value)
            if after:
                where(builder, table.key[held].name, "lt" if question.backwards else "gt", after[held])
            for column in table.key[held:]:
                builder = builder.order(quoted_name(column.name), desc=question.backwards)
            return builder

        async def ask() -> Page | None:
            if address_length(request()) > LONGEST_ADDRESS and len(question.columns) > table.key_size:
                return await ask_for_parts()
            began = monotonic()
            try:
                answer = await self._read(request(), size.most_bytes)
            except StoreTimeoutError:
                size.too_slow()
                raise
            while answer is None:
                size.too_heavy()
                await self.pace.ready()
                began = monotonic()
                answer = await self._read(request(), size.most_bytes)
            body, told = answer
            seconds = monotonic() - began
            page = read_page(body, table, question.names)
            if page is not None:
                self.pace.answered(table.name, f"{len(question.columns)} columns", len(body), seconds)
            refuse_other_count(page.rows if page else 0, told)
            return page

        async def ask_for_parts() -> Page | None:
            reader = await self._part_reader(question)
            while True:
                try:
                    return await reader.page(request, size.most_bytes)
                except TooHeavyError:
                    size.too_heavy()
                except StoreTimeoutError:
                    size.too_slow()
                    raise

        page = await self.patiently(ask)
        if page is not None:
            self.pace.count(rows=page.rows if question.as_rows else 0)
            size.learn(page)
        return page

    async def _parts_by_key(self, question: PageQuestion, keys: Sequence[Key]) -> AsyncIterator[Page]:
        for first in range(0, len(keys), _ROWS_IN_PARTS):
            wanted = keys[first : first + _ROWS_IN_PARTS]

            async def ask(wanted: Sequence[Key] = wanted) -> Page | None:
                reader = await self._part_reader(question)
                found = await reader.by_key(wanted)
                return reader.joined(found.values()) if found else None

            if (page := await self.patiently(ask)) is not None:
                self.pace.count(rows=page.rows)
                yield page

    async def _part_reader(self, question: PageQuestion) -> PartReader:
        table = question.table
        if (name := (table.name, table.version)) not in self._versioned:
            self._versioned[name] = bool(table.version) and await self.has_versions(table)
            if not self._versioned[name]:
                self.on_retry(
                    f"{table.name} has more columns than one address holds, and no xmin (it is a view): a row that "
                    "changes while it is read may be a mixture, which botdata verify finds. Better: "
                    "--source postgresql://..., which reads a row in one piece"
                )
        request = partial(self._selected, table)
        return PartReader(self._read, request, question, is_versioned=self._versioned[name])

    def _selected(self, table: CopyTable, select: str) -> Any:
        return self.heirs.leave_out(selected(self.rest.table(table.relation_name, table.schema), select), table)

    async def patiently(self, ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """The answer to a request, when the pace allows it; it is tried again where its failure can pass."""

        async def paced() -> _Answer:
            async with self.pace.request():
                return await ask()

        return await patiently(paced, self.limits, self.on_retry, self.label)

    async def _read(self, builder: Any, most_bytes: int) -> tuple[bytes, int | None] | None:
        """An answer as `SupabaseRest.read_at_most` gives it, whose bytes are counted."""
        answer = await self.rest.read_at_most(builder, most_bytes)
        self.pace.count(size=most_bytes if answer is None else len(answer[0]))
        return answer


def _refuse_null(key: Sequence[str | None], table: CopyTable) -> None:
    """Rows without a key come last, and none can be asked for after them."""
    if without := [column.name for column, part in zip(table.key, key, strict=True) if part is None]:
        raise MigrationError(
            f"rows of {table.name} in the source have NULL in their key ({', '.join(without)})",
            step="read the source",
            table=table.name,
            pending=f"{table.name} and the tables after it",
            next_step=NextStep("give them keys, or leave them out of what the source shows; then: the same command"),
        )
