"""What a listing of a table's keys gave, to be held against the next one."""

from __future__ import annotations

from dataclasses import dataclass

from app.migration.pages import key_of, records_of
from app.migration.source import Page
from app.migration.tables import CopyTable


@dataclass(slots=True)
class Listing:
    """How many keys, and a sum over them: the same for the same keys, in whatever pages they came."""

    rows: int = 0
    total: int = 0

    def add(self, page: Page, table: CopyTable) -> None:
        """Take in a page of keys."""
        self.rows += page.rows
        self.total = (self.total + sum(hash(key_of(record, table)) for record in records_of(page.body))) % 2**64
