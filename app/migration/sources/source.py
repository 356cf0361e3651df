"""What the engine asks of a source, whatever it is."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from app.common.keys import Key
from app.migration.sources.pace import Pace
from app.migration.tables.copy_table import CopyTable

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
