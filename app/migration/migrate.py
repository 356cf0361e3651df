"""The whole move: a look at both ends, the schema's upgrade, the copy, and the comparison of every row.

One session holds the run lock from the first write to the last comparison, so that no other run comes in between.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, replace

from sqlalchemy import Table

from app.errors import MigrationError
from app.migration.copy.copier import CopyOptions, copy_into
from app.migration.load.table_authority import read_authority
from app.migration.runs.report import CopyReport, VerifyReport
from app.migration.sources.source import Progress, Source
from app.migration.tables.copy_table import name_of
from app.migration.target.target_session import explained, open_target
from app.migration.verify.options import VerifyOptions
from app.migration.verify.verifier import verify_on
from app.schema.revisions import Upgrade

_STEP = "migrate"


@dataclass(frozen=True, slots=True)
class MigrateReport:
    """What a move did; `copied` is the last copy where there were two."""

    upgraded: Upgrade | None
    copied: CopyReport
    verified: VerifyReport

    @property
    def complete(self) -> bool:
        """Whether every row arrived, and none differs."""
        return self.copied.complete and self.verified.clean


async def migrate(
    target_url: str,
    tables: Sequence[Table],
    options: CopyOptions,
    *,
    upgrade: Callable[[], Awaitable[Upgrade]] | None,
    look: Callable[[CopyOptions], Awaitable[CopyOptions]],
    working: Callable[[str], AbstractAsyncContextManager[tuple[Source, Progress]]],
    on_upgrade: Callable[[Upgrade], None],
    on_copy: Callable[[CopyReport], None],
) -> MigrateReport:
    """Move the tables, or go on with a move that was stopped.

    Args:
        upgrade: upgrades the schema, where revisions make its tables.
        look: examines both ends; gives what the copy is to know of them, or raises.
        working: opens the source for a step, "copy" or "verify", and says where its progress goes.
        on_upgrade, on_copy: called when that step has ended.

    Raises:
        MigrationError: a step stopped; it says what was done, and the same command goes on from there.
    """

    async def copy_once(chosen: CopyOptions) -> CopyReport:
        async with working("copy") as (source, progress):
            report = await copy_into(connection, source, target_url, tables, progress, chosen)
        on_copy(report)
        return report

    async with open_target(target_url, step=_STEP, exclusive=True) as connection:
        with explained(_STEP, pending="everything; nothing was written"):
            options.permit.refuse(await read_authority(connection), [name_of(table) for table in tables])
        options = await look(options)
        upgraded = None
        if upgrade is not None:
            upgraded = await upgrade()
            on_upgrade(upgraded)
        with _after("the schema's upgrade" if upgraded else None):
            copied = await copy_once(options)
            if copied.sync_due or any(table.done_before for table in copied.tables):
                copied = await copy_once(replace(options, restart=False))  # those done before may have changed
        with _after("the copy"):
            async with working("verify") as (source, progress):
                verified = await verify_on(connection, source, tables, progress, VerifyOptions())
    return MigrateReport(upgraded, copied, verified)


@contextmanager
def _after(done: str | None) -> Iterator[None]:
    """Errors name what the steps before have done."""
    try:
        yield
    except MigrationError as error:
        error.done = "; ".join(part for part in (done, error.done) if part) or None
        raise
