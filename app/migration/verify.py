"""Comparing every row of the source with the target: what the source sends against what the target holds, as text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from time import monotonic

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from sqlalchemy import Table

from app.errors import MigrationError, UnavailableError
from app.migration import statements
from app.migration.completeness import count_target, select_keys, source_keys
from app.migration.report import Difference, Progress, TableVerified, VerifyReport
from app.migration.source import Source
from app.migration.tables import CopyTable, describe
from app.migration.target import JsonBytes, explained, is_row_fault, open_target


async def verify(source: Source, target_url: str, tables: Sequence[Table], progress: Progress) -> VerifyReport:
    """Compare the tables row by row; writes nothing but a temporary table where the key sets must be compared.

    Raises:
        MigrationError: one of the sides cannot be read.
    """
    began = monotonic()
    verified = []
    async with open_target(target_url, step="verify") as connection:
        for table in tables:
            with explained(
                "verify", setting=source.setting, table=table.name, pending=f"{table.name} and the tables after it"
            ):
                described = await describe(connection, table, step="verify")
                verified.append(await _verify_table(connection, source, described, progress))
    return VerifyReport(tuple(verified), monotonic() - began)


async def _verify_table(
    connection: AsyncConnection, source: Source, table: CopyTable, progress: Progress
) -> TableVerified:
    began = monotonic()
    progress.begin(table.name, await source.count(table), 0)
    differences: list[Difference] = []
    source_rows = missing = different = 0
    async for page in source.pages(table):
        for key, absent, columns, theirs, ours in await _compare(connection, table, page.body):
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
    if not await source.count(table) == source_rows == target_rows + missing:
        compared = source_rows - missing
        known = {difference.key for difference in differences if difference.kind == "missing"}
        async with source_keys(connection, source, table):
            lost = await select_keys(connection, statements.missing_keys(table).as_string(connection)) - known
            extra = await select_keys(connection, statements.extra_keys(table).as_string(connection))
        if target_rows - len(extra) > compared:
            raise MigrationError(
                f"{target_rows - len(extra) - compared} rows were not compared: the source's pages left them out",
                step="verify",
                table=table.name,
                pending=f"{table.name} and the tables after it",
                next_command="botdata verify",
            )
        source_rows += len(lost)
        missing += len(lost)
        differences.extend(_difference("missing", table, key) for key in sorted(lost))
        differences.extend(_difference("extra", table, key) for key in sorted(extra))
    return TableVerified(
        table=table.name,
        source_rows=source_rows,
        target_rows=target_rows,
        equal=source_rows - missing - different,
        differences=tuple(differences),
        seconds=monotonic() - began,
    )


async def _compare(connection: AsyncConnection, table: CopyTable, body: bytes) -> list[TupleRow]:
    """What `statements.compare_page` says of a page; a row that its cast refuses is found by halving."""
    try:
        typed = statements.compare_page(table).as_string(connection)
        return await (await connection.execute(typed, [JsonBytes(body)])).fetchall()
    except psycopg.Error as error:
        if not is_row_fault(error):
            raise
    try:
        records = json.loads(body)
    except ValueError as error:
        raise UnavailableError("a page from the source is not whole JSON") from error
    if len(records) == 1:
        as_text = statements.compare_page(table, typed=False).as_string(connection)
        return await (await connection.execute(as_text, [JsonBytes(body)])).fetchall()
    middle = len(records) // 2
    halves = [json.dumps(half).encode() for half in (records[:middle], records[middle:])]
    return [row for half in halves for row in await _compare(connection, table, half)]


def _difference(
    kind: str,
    table: CopyTable,
    key: Sequence[str],
    column: str | None = None,
    source: str | None = None,
    target: str | None = None,
) -> Difference:
    return Difference(kind, table.name, tuple(key), table.key_holds_phone, column, source, target)
