"""What a step works with: a source, the pages that it sends, and the protocol by which a step tells how far it is."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence, Set
from dataclasses import dataclass
from typing import Any, Protocol

from app.common.keys import Key
from app.errors import StoreError, UnavailableError
from app.migration.retry import Limits
from app.migration.sources.pace import Pace
from app.migration.tables.copy_table import CopyTable
from app.stores.supabase.answers import refuse_other_columns
from app.stores.supabase.grammar import alias

# The name in a page of a row's version (its xmin), where versions were asked for.
VERSION = "_v"


@dataclass(frozen=True, slots=True)
class Page:
    """Rows as one JSON array of flat objects, every value PostgreSQL's own text or null.

    Values are named by the position of their column in the table: `app.stores.supabase.grammar.alias(0)`, the key's
    first, and so on.

    Attributes:
        body: the bytes as they came.
        rows: how many.
        last_key: the primary key of the last row, as text.
    """

    body: bytes
    rows: int
    last_key: Key


class Source(Protocol):
    """A place that rows come from. Transient failures are retried inside; a lasting one is a StoreError.

    With `versions`, each row of a page has its xmin too, under the name VERSION.
    """

    @property
    def label(self) -> str:
        """The source's name for people and for finding an unfinished run: no key, no password."""

    @property
    def setting(self) -> str:
        """The setting or option that names it, for messages: "SUPABASE_URL" or "--source"."""

    @property
    def pace(self) -> Pace:
        """How much may be asked of it."""

    async def count(self, table: CopyTable) -> int:
        """Exact number of rows."""

    async def has_versions(self, table: CopyTable) -> bool:
        """Whether the rows' xmin can be had: not where the source's table is a view."""

    def pages(self, table: CopyTable, *, after: Key | None = None, versions: bool = False) -> AsyncIterator[Page]:
        """All rows after a key, in the order of the primary key, never an empty page."""

    def rows_by_key(
        self, table: CopyTable, keys: Sequence[Key], *, versions: bool = False, listed: bool = False
    ) -> AsyncIterator[Page]:
        """The rows of these keys that exist.

        Args:
            listed: the source itself gave these keys: one that an index does not find is looked for without it.
        """


class Progress(Protocol):
    """Told how far a step is; the command line draws it."""

    def begin(self, table: str, total: int, done: int) -> None:
        """A table begins (or goes on): rows in all, rows already done."""

    def advance(self, table: str, rows: int) -> None:
        """More rows are done."""

    def notice(self, message: str) -> None:
        """Something worth a line: a retry, a run that goes on."""


class PageSize:
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
        """Ask for half as many rows next; those after them may be lighter again."""
        self.rows = max(1, self.rows // 2)

    def learn(self, page: Page) -> None:
        """Fit the next page to the bytes a row of this one took."""
        fitting = int(self._limits.page_bytes * page.rows / len(page.body))
        self.rows = max(1, min(self._most, fitting, 8 * self.rows))


def read_page(body: bytes, table: CopyTable, wanted: Set[str] | None = None) -> Page | None:
    """Count a page's rows and read its last key, without decoding the rest; None for an empty page.

    Args:
        wanted: the names that the rows are to have, where the source may answer something else.

    A record begins with `{"_0":"`, and that sequence cannot occur inside a JSON string: there a quote is escaped.

    Raises:
        UnavailableError: cut short, written by something other than PostgREST, or of other columns; likely to pass.
    """
    if not (body.lstrip().startswith(b"[") and body.rstrip().endswith(b"]")):
        raise UnavailableError("Supabase answered with something that is not a JSON array of rows")
    begin = f'{{"{alias(0)}":"'.encode()
    rows = body.count(begin)
    if rows:
        try:
            last = json.loads(body[body.rindex(begin) : body.rindex(b"]")])
        except ValueError:
            pass  # not written as PostgREST writes it: decode it whole
        else:
            refuse_other_columns([last], wanted)
            return Page(body, rows, key_of(last, table))
    records = records_of(body)
    refuse_other_columns(records, wanted)
    return Page(body, len(records), key_of(records[-1], table)) if records else None


def key_of(record: dict[str, Any], table: CopyTable) -> Key:
    """The primary key of a decoded row of a page; StoreError where it is not there."""
    try:
        return tuple(record[alias(position)] for position in range(table.key_size))
    except (KeyError, TypeError):
        raise StoreError("Supabase answered with rows that lack the columns asked for") from None


def records_of(body: bytes) -> list[dict[str, Any]]:
    """The rows of a page, decoded; UnavailableError where it is no JSON array."""
    try:
        records = json.loads(body)
    except ValueError as error:
        raise UnavailableError("Supabase answered with something that is not JSON") from error
    if not isinstance(records, list):
        raise UnavailableError("Supabase answered with something that is not a JSON array of rows")
    return records


async def ahead(pages: AsyncIterator[Page]) -> AsyncGenerator[Page, None]:
    """The same pages, the next one being fetched while the caller works on this one.

    To be used with `contextlib.aclosing`: what is being fetched then ends with it.
    """
    upcoming = asyncio.ensure_future(anext(pages, None))
    try:
        while (page := await upcoming) is not None:
            upcoming = asyncio.ensure_future(anext(pages, None))
            yield page
    finally:
        if not upcoming.done():
            upcoming.cancel()
        await asyncio.gather(upcoming, return_exceptions=True)
