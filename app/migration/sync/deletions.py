"""Deletions of a sync: how many are too many, and whether the rows are really gone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from psycopg import AsyncConnection, sql

from app.common.keys import Key
from app.errors import MigrationError
from app.migration.copy.completeness import count_keys, select_keys
from app.migration.sources.source import Source
from app.migration.sync import keyed_rows
from app.migration.sync.options import SyncOptions
from app.migration.tables.copy_table import CopyTable
from app.migration.target import interference
from app.next_step import Command, NextStep


@dataclass(frozen=True, slots=True)
class CandidateDeletions:
    """Rows of one side that the other does not have.

    Attributes:
        count: how many there are.
        keys: in their order; None where they are more than a round may delete, which only a dry run passes over.
    """

    count: int
    keys: list[Key] | None

    @classmethod
    async def read(cls, connection: AsyncConnection, query: sql.Composed, options: SyncOptions) -> Self:
        """What a query for their keys (text[]) gives; they come over where they are not too many."""
        count = await count_keys(connection, query)
        if count > options.most_deleted:
            return cls(count, None)
        return cls(count, sorted(await select_keys(connection, query.as_string(connection))) if count else [])


def refuse_many_deletions(gone: Mapping[str, int], options: SyncOptions, *, side: str, other: str) -> None:
    """Stop where a round would delete more rows than it may.

    Args:
        gone: candidates by table.
        side: where the rows would be deleted, in words; other: where they are missing.

    Raises:
        MigrationError: says how many rows of which tables, and the option.
    """
    total = sum(gone.values())
    if total <= options.most_deleted or options.dry_run:
        return
    counts = ", ".join(f"{table} ({rows:,})" for table, rows in gone.items() if rows)
    raise MigrationError(
        f"{total:,} rows of {side} are not in {other} and would be deleted, more than --max-deletes "
        f"({options.most_deleted:,}): {counts}",
        step="sync",
        pending="everything of this round; nothing was deleted",
        next_step=NextStep(
            Command("sync", f"{'--reverse ' * options.reverse}--max-deletes {total}"),
            ", if those rows were deleted on purpose",
        ),
    )


async def gone_from_source(
    connection: AsyncConnection, source: Source, table: CopyTable, keys: Sequence[Key]
) -> list[Key]:
    """Those of the target's keys that the source does not have when it is asked for them."""
    there: set[Key] = set()
    async for page in source.rows_by_key(table, keys):
        there |= await keyed_rows.keys_of(connection, table, page.body)
    return [key for key in keys if key not in there]


async def rows_kept(connection: AsyncConnection, table: CopyTable, keys: Sequence[Key]) -> tuple[int, str]:
    """How many rows are there still after they were deleted, and a sentence that names what may have kept them."""
    kept = len(await keyed_rows.existing_keys(connection, table, keys))
    if not kept:
        return 0, ""
    names = await interference.on_deletions(connection, table)
    by = f" ({', '.join(names)})" if names else ""
    return kept, f"{table.name}: {kept} rows that the source does not have were deleted, and the target keeps them{by}"
