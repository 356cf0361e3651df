"""What a reverse sync asks of a source that it writes to, whatever it is."""

from collections.abc import Sequence
from typing import Any, Protocol

from app.common.keys import Key
from app.migration.retry import Limits
from app.migration.sources.source import Page
from app.migration.tables.copy_table import CopyTable

# In place of a SQLSTATE: PostgREST takes a JSON null for SQL's NULL, so a JSON null cannot be sent.
JSON_NULL = "json_null"
# SQLSTATE generated_always: an identity column takes a value only from a statement that PostgREST does not make.
ALWAYS_GENERATED = "428C9"


class SourceWriter(Protocol):
    """A place that rows are written to. Each call is one try: a StoreError says that it failed, or may have."""

    @property
    def limits(self) -> Limits:
        """How often to try again, and how long to wait."""

    def unsendable(self, table: CopyTable, record: dict[str, Any]) -> str | None:
        """The column whose value cannot be sent, of a decoded row of a page."""

    async def write(self, table: CopyTable, page: Page) -> None:
        """Insert or update the rows of a page, all or none; of a table that `replaces_rows`, delete and insert them."""

    async def delete(self, table: CopyTable, keys: Sequence[Key]) -> None:
        """Delete the rows of these keys."""

    async def raise_sequences(self, table: CopyTable) -> bool:
        """Set the table's sequences past its highest values; False where that cannot be done."""
