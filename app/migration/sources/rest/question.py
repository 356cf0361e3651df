"""What a source over REST asks of a table."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

from app.migration.sources.source import VERSION
from app.migration.tables.copy_table import CopyColumn, CopyTable
from app.stores.supabase.grammar import alias, as_text, quoted_name


@dataclass(frozen=True, slots=True)
class PageQuestion:
    """What is asked of a table: its columns, the select list, and the names that its answers' rows have.

    Attributes:
        as_rows: what comes counts as rows for the rate: not where only the keys are listed as a proof.
    """

    table: CopyTable
    columns: Sequence[CopyColumn]
    versions: bool
    select: str
    names: Set[str]
    backwards: bool = False
    as_rows: bool = True

    @classmethod
    def of(
        cls,
        table: CopyTable,
        columns: Sequence[CopyColumn],
        versions: bool,
        *,
        backwards: bool = False,
        as_rows: bool = True,
    ) -> PageQuestion:
        """The question for some columns of a table, the key's first, and `versions` of its rows.

        Args:
            backwards: from the last key to the first.
        """
        select = as_text([column.name for column in columns])
        names = {alias(position) for position in range(len(columns))}
        if versions:
            select, names = f"{select},{version_item(table)}", names | {VERSION}
        return cls(table, columns, versions, select, names, backwards, as_rows)


def version_item(table: CopyTable) -> str:
    """The item of a select list that asks for the rows' versions."""
    return f"{VERSION}:{quoted_name(table.version)}::text"
