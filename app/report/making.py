"""Making a report: both sides of each table are hashed, and what the target remembers is gathered."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from psycopg import AsyncConnection
from sqlalchemy import Table

from app.errors import MigrationError, StoreError
from app.migration.keys.key_listing import count_target
from app.migration.runs.status import status_of
from app.migration.sources.moved_tables import NotMoved, choose_moved, partitions_among, shown_count
from app.migration.sources.rest.rest_source import RestSource
from app.migration.sources.rest.text_settings import require_readable_texts
from app.migration.sources.source import Progress, Source
from app.migration.tables.copy_table import CopyTable, name_of
from app.migration.tables.described_table import describe
from app.migration.target.columns_of_both import compared_table
from app.migration.target.target_session import explained, open_target
from app.next_step import Command, NextStep
from app.report.facts import KIND, VERSION, digest_facts, gather, hash_facts, open_points
from app.report.hashing import digest_source, digest_target
from app.state.digests import KeptDigest, ensure_key, keep_digest, kept_digests
from app.state.runs.runs import last_source
from app.state.tool_schema import ensure_tool_schema
from app.stores.postgres.database_url import shown_url

STEP = "report"
_PENDING = "the report; nothing but hashes was written"
_MOVES = ("copy", "sync", "verify --fix")


async def make_report(
    target_url: str,
    source: Source | None,
    tables: Sequence[Table],
    progress: Progress,
    *,
    kept: bool = False,
    secrets: Sequence[str] = (),
) -> dict[str, Any]:
    """Hash the tables, keep the hashes, and gather what is known.

    Args:
        source: None: the target alone is hashed.
        kept: no row is read; the hashes of the last report are shown, with their time.
        secrets: see `Settings.secrets`.

    Returns:
        The facts; docs/json.md has their fields.

    Raises:
        MigrationError: a side cannot be read, or the role is not the owner of the tool's schema.
    """
    async with open_target(target_url, step=STEP) as connection:
        with explained(STEP, pending=_PENDING):
            await ensure_tool_schema(connection)
            key = await ensure_key(connection)
            chosen, not_moved = await _choose(connection, source, tables, progress)
            described = [await describe(connection, table, step=STEP, reads=True) for table in chosen]
        left_out: dict[str, list[str]] = {}
        if not kept:
            with _reading(source):
                if isinstance(source, RestSource):
                    await require_readable_texts(source, described, progress.notice, step=STEP)
                for table, model in zip(described, chosen, strict=True):
                    digests, left_out[table.name] = await _digest(connection, source, table, model, progress)
                    for digest in digests:
                        await keep_digest(connection, digest)
        with explained(STEP, pending=_PENDING):
            status = await status_of(connection)
            facts = await gather(connection, status, described, secrets)
            known = await kept_digests(connection)
            label = source.label if source else await last_source(connection, _MOVES)
            for one, table in zip(facts["tables"], described, strict=True):
                theirs, ours = known.get((table.name, "source")), known.get((table.name, "target"))
                one["rows"] = ours.rows if ours and not kept else await count_target(connection, table)
                one["source"], one["target"] = digest_facts(theirs), digest_facts(ours)
                one["equal"] = _equal(theirs, ours)
                one["left_out"] = left_out.get(table.name)
    head = {
        "kind": KIND,
        "version": VERSION,
        "made_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "source": label,
        "target": shown_url(target_url),
        "read": "nothing" if kept else "both sides" if source else "the target",
        "at_work": status.holder,
        "paused": status.pause and status.pause.document,
        "paces": [one.document for one in status.paces],
        "hashes": hash_facts(key),
        "not_moved": [{"table": one.table, "why": one.why} for one in not_moved],
    }
    return {**head, "open": open_points({**head, **facts}), **facts}


async def _choose(
    connection: AsyncConnection, source: Source | None, tables: Sequence[Table], progress: Progress
) -> tuple[list[Table], tuple[NotMoved, ...]]:
    if source is not None:
        return await choose_moved(connection, source, tables, progress, step=STEP)
    partitions = await partitions_among(connection, tables)
    return [table for table in tables if name_of(table) not in partitions and len(table.columns)], ()


async def _digest(
    connection: AsyncConnection, source: Source | None, described: CopyTable, model: Table, progress: Progress
) -> tuple[list[KeptDigest], list[str]]:
    """The digests, and the columns that are not in them."""
    if source is None:
        table = described.with_made
        progress.begin(table.name, await count_target(connection, table), 0)
        return [await digest_target(connection, table, None, progress)], []
    table, left_out = await compared_table(connection, source, described, model)
    progress.begin(table.name, await shown_count(source, table) + await count_target(connection, table), 0)
    theirs = await digest_source(connection, source, table, progress)
    ours = await digest_target(connection, table, source.label, progress)
    return [theirs, ours], [one.column for one in left_out]


def _equal(theirs: KeptDigest | None, ours: KeptDigest | None) -> bool | None:
    """Whether both sides hold the same; None where they were not hashed together, or not with the same columns."""
    if theirs is None or ours is None or theirs.columns != ours.columns or theirs.source != ours.source:
        return None
    return theirs.buckets == ours.buckets


@contextmanager
def _reading(source: Source | None) -> Iterator[None]:
    """While rows are read; an error of the source says how to do without it."""
    try:
        with explained(STEP, setting=source.setting if source else "DATABASE_URL", pending=_PENDING):
            yield
    except MigrationError as error:
        if isinstance(error.__cause__, StoreError) and error.next_step is not None:
            error.next_step = NextStep(*error.next_step, "; once the source is gone: ", Command(STEP, "--target-only"))
        raise
