"""Comparing every row of the source with the target: what the source sends against what the target holds, as text."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

from psycopg import AsyncConnection
from sqlalchemy import Table

from app.migration import statements
from app.migration.completeness import count_target, select_keys, source_keys
from app.migration.report import Difference, Progress, TableVerified, VerifyReport
from app.migration.source import Source
from app.migration.tables import CopyTable, describe
from app.migration.target import JsonBytes, explained, open_target


async def verify(source: Source, target_url: str, tables: Sequence[Table], progress: Progress) -> VerifyReport:
    """Compare the tables row by row; writes nothing but a temporary table where the key sets must be compared.

    Raises:
        MigrationError: one of the sides cannot be read.
    """
    began = monotonic()
    verified = []
    async with open_target(target_url, step="verify") as connection:
        for table in tables:
            with explained("verify", table=table.name, pending=f"{table.name} and the tables after it"):
                described = await describe(connection, table, step="verify")
                verified.append(await _verify_table(connection, source, described, progress))
    return VerifyReport(tuple(verified), monotonic() - began)


async def _verify_table(
    connection: AsyncConnection, source: Source, table: CopyTable, progress: Progress
) -> TableVerified:
    began = monotonic()
    progress.begin(table.name, await source.count(table), 0)
    compare = statements.compare_page(table).as_string(connection)
    differences: list[Difference] = []
    source_rows = missing = different = 0
    async for page in source.pages(table):
        cursor = await connection.execute(compare, [JsonBytes(page.body)])
        for key, absent, columns, theirs, ours in await cursor.fetchall():
            if absent:
                missing += 1
                differences.append(_difference("missing", table, key))
                continue
            different += 1
            for column, source_text, target_text in zip(columns, theirs, ours, strict=True):
                differences.append(_difference("different", table, key, column, source_text, target_text))
        source_rows += page.rows
        progress.advance(table.name, page.rows)
    target_rows = await count_target(connection, table)
    if target_rows != source_rows - missing:
        async with source_keys(connection, source, table):
            extra = await select_keys(connection, statements.extra_keys(table).as_string(connection))
        differences.extend(_difference("extra", table, key) for key in sorted(extra))
    return TableVerified(
        table=table.name,
        source_rows=source_rows,
        target_rows=target_rows,
        equal=source_rows - missing - different,
        differences=tuple(differences),
        seconds=monotonic() - began,
    )


def _difference(
    kind: str,
    table: CopyTable,
    key: Sequence[str],
    column: str | None = None,
    source: str | None = None,
    target: str | None = None,
) -> Difference:
    return Difference(kind, table.name, tuple(key), table.key_holds_phone, column, source, target)
