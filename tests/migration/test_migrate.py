"""The whole move holds the lock of a run from its first look to its last comparison."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from app.errors import MigrationError
from app.migration.copy.copier import CopyOptions
from app.migration.migrate import MigrateReport, migrate
from app.migration.sources.source import Progress, Source
from app.migration.target.target_session import open_target
from app.schema import revisions
from app.schema.revisions import Upgrade
from tests.migration.engine import Told, add_clients, row_texts, source_of, tables
from tests.support.page_server import PageServer


@dataclass
class Move:
    """One move, which looks at each of its steps whether another run could begin."""

    pages: PageServer
    target: str
    steps: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    async def begin_another_run(self, step: str) -> None:
        self.steps.append(step)
        with pytest.raises(MigrationError) as refused:
            async with open_target(self.target, step="copy", exclusive=True):
                pass
        self.refused.append(refused.value.message)

    async def look(self, options: CopyOptions) -> CopyOptions:
        await self.begin_another_run("look")
        return options

    @asynccontextmanager
    async def working(self, step: str) -> AsyncIterator[tuple[Source, Progress]]:
        await self.begin_another_run(step)
        async with source_of(self.pages) as source:
            yield source, Told()
        await self.begin_another_run(f"after {step}")

    async def make(self, *names: str) -> MigrateReport:
        upgraded: list[Upgrade] = []

        async def upgrade() -> Upgrade:
            return revisions.upgrade(self.target)

        return await migrate(
            self.target,
            tables(*names),
            CopyOptions(),
            upgrade=upgrade,
            look=self.look,
            working=self.working,
            on_upgrade=upgraded.append,
            on_copy=lambda report: self.steps.append(f"{sum(table.copied for table in report.tables)} rows"),
        )


async def test_no_other_run_begins_while_a_move_is_at_work(
    pages: PageServer, source_database: str, fresh_database: str
) -> None:
    add_clients(source_database, 30)
    move = Move(pages, fresh_database)
    report = await move.make("clients", "staff")
    assert report.complete
    assert report.upgraded is not None
    assert move.steps == ["look", "copy", "after copy", "30 rows", "verify", "after verify"]
    assert all("another run is at work" in message and "botdata migrate" in message for message in move.refused)
    async with open_target(fresh_database, step="copy", exclusive=True):
        assert row_texts(fresh_database, "clients") == row_texts(source_database, "clients")
