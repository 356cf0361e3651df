"""Copy, verify, fix, sync and the way back through trouble, in this process: many faults, waits of milliseconds."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from app.errors import MigrationError
from app.migration.copy.copier import CopyOptions, copy
from app.migration.retry import Limits
from app.migration.sources.rest.rest_source import RestSource
from app.migration.sync.options import SyncOptions
from app.migration.sync.syncer import Sync
from app.migration.tables.metadata import select_tables
from app.migration.verify.options import VerifyOptions
from app.migration.verify.verifier import verify
from app.models import Base
from app.stores.supabase.client import SupabaseRest
from tests.chaos.http_trouble import Rates, Trouble
from tests.chaos.http_world import Ended, World, differing, execute, pages_of
from tests.support.page_server import PageServer

_LIMITS = Limits(wait_initial=0.001, wait_max=0.004)
_NO_FAULTS = Rates(0, 0, 0, 0)
_TRIES = 6  # with faults; then one without
_ALL = select_tables(Base.metadata)

# What somebody does to one side. Each is one row; `missing` and so on are what a verification calls it in the target.
_CHANGES: dict[tuple[str, str, tuple[str, ...]], bytes] = {
    ("different", "clients", ("7",)): b"UPDATE clients SET total_spent = total_spent + 0.01 WHERE id = 7",
    ("different", "whatsapp_keys", ("2", "b", "3")): b"UPDATE whatsapp_keys SET value = '{\"n\": 1.100}' WHERE "
    b"(company_id, key_type, key_id) = ('2', 'b', '3')",
    ("different", "services", ("3",)): b"UPDATE services SET title = title || ' ' WHERE id = 3",
    ("missing", "whatsapp_keys", ("1", "a", "7")): b"DELETE FROM whatsapp_keys WHERE "
    b"(company_id, key_type, key_id) = ('1', 'a', '7')",
    ("missing", "company_sync_status", ("8",)): b"DELETE FROM company_sync_status WHERE id = 8",
    ("extra", "company_sync_status", ("77",)): b"INSERT INTO company_sync_status (id, company_id) VALUES (77, 77)",
    ("extra", "actions", ("ffffffff-ffff-ffff-ffff-ffffffffffff",)): b"INSERT INTO actions (id, company_id) "
    b"VALUES ('ffffffff-ffff-ffff-ffff-ffffffffffff', 1)",
    ("extra", "whatsapp_keys", ("1", "a", "70")): b"INSERT INTO whatsapp_keys (company_id, key_type, key_id, value) "
    b"VALUES ('1', 'a', '70', '{}')",
}
_MANY = (
    b"; UPDATE clients SET notes = 'changed' WHERE id > 50; UPDATE messages SET status = 'read'; "
    b"UPDATE actions SET status = 'done'"
)

Found = set[tuple[str, str, tuple[str, ...]]]


class _Silent:
    """A Progress whose notices go to the transcript."""

    def __init__(self, world: World) -> None:
        self._world = world

    def begin(self, table: str, total: int, done: int) -> None:
        """Nothing."""

    def advance(self, table: str, rows: int) -> None:
        """Nothing."""

    def notice(self, message: str) -> None:
        """Look through it."""
        self._world.transcript.record("notice", message)


class Episode:
    """One step of the move between a source and a target, through trouble, checked with SQL of its own.

    Args:
        name: with the seed it repeats the episode.
    """

    def __init__(
        self, world: World, name: str, chance: random.Random, server: PageServer, rest: SupabaseRest, target: str
    ) -> None:
        self.ended = Ended()
        self.found: Found = set()
        self._world = world
        self._name = name
        self._chance = chance
        self._server = server
        self._rest = rest
        self._target = target
        self._progress = _Silent(world)

    async def copy(self, source: str, rates: Rates) -> None:
        """Copy everything; equal afterwards, or it said what stopped it."""

        async def work() -> bool:
            async with self._source() as opened:
                return (await copy(opened, self._target, _ALL, self._progress, CopyOptions())).complete

        await self._through(rates, work, lambda: differing(source, self._target))

    async def sync(self, source: str, rates: Rates, *, reverse: bool = False) -> None:
        """Sync, there or back; equal afterwards."""
        options = SyncOptions(
            reverse=reverse,
            overwrite=True,
            interval=0.001,
            until_clean=self._chance.random() < 0.5,
            most_by_key=self._chance.choice([1, 5000]),
        )

        async def work() -> bool:
            return (await Sync(self._source, self._target, _ALL, self._progress, options).run()).complete

        await self._through(rates, work, lambda: differing(source, self._target))

    async def verify(self, rates: Rates, planted: Found) -> None:
        """Verify; the planted differences are found, and no others."""

        async def work() -> bool:
            async with self._source() as opened:
                report = await verify(opened, self._target, _ALL, self._progress, VerifyOptions(pause=0.002))
            self.found = {(one.kind, one.table, one.key) for one in report.differences}
            return report.clean == (not self.found)

        await self._through(
            rates,
            work,
            lambda: (
                [f"not found: {one}" for one in planted - self.found]
                + [f"found, and not there: {one[:2]}" for one in self.found - planted]
            ),
        )

    async def fix(self, source: str, rates: Rates) -> None:
        """Fix; the sides are equal afterwards but for rows that only the target has."""

        async def work() -> bool:
            async with self._source() as opened:
                report = await verify(opened, self._target, _ALL, self._progress, VerifyOptions(fix=True, pause=0.002))
            return not any(table.missing or table.different for table in report.tables)

        def unequal() -> list[str]:
            return [row for row in differing(source, self._target) if not row.endswith("only here")]

        await self._through(rates, work, unequal)

    async def _through(
        self, rates: Rates, work: Callable[[], Awaitable[bool]], check: Callable[[], Sequence[str]]
    ) -> None:
        """Do it again and again until it says that all is well, at last without faults; then see whether it is."""
        trouble = Trouble(self._server, self._name, rates)
        for tries in range(_TRIES + 1):
            if tries == _TRIES:
                trouble.end()
            try:
                if await work():
                    break
            except MigrationError as error:
                self._world.told(error)
                self._look_at(error)
            except Exception as error:
                self._world.told(error)
                self.ended.wrong.append(f"{self._name}: {type(error).__name__}: {error}")
                break
        else:
            self.ended.wrong.append(f"{self._name}: does not end well without faults")
        trouble.end()
        self.ended.injected += trouble.injected.total()
        unequal = [] if self.ended.wrong else check()  # wrong already, and so not done
        self.ended.lost += len(unequal)
        self.ended.wrong += [f"{self._name}: lost: {row}" for row in unequal[:5]]

    def _look_at(self, error: MigrationError) -> None:
        where = error.table or error.pending
        if not (error.message and error.step and where and error.next_step):
            said = [error.message, error.step, where, error.next_step]
            self.ended.wrong.append(f"{self._name}: an error that does not say all: {said}")

    @asynccontextmanager
    async def _source(self) -> AsyncIterator[Any]:
        yield RestSource(self._rest, self._server.url, limits=_LIMITS, on_retry=self._progress.notice)


async def run_episode(world: World, name: str, kind: str, chance: random.Random, rates: Rates) -> Ended:
    """One episode of a kind: "copy", "verify", "sync" or "reverse"."""
    planted = {one for one in _CHANGES if chance.random() < 0.5}
    statements = b"; ".join([_CHANGES[one] for one in sorted(planted)])
    with (
        world.database("salon") as source,
        world.database("empty") as target,
        pages_of(source, max_rows=1000) as server,
    ):
        rest = await SupabaseRest.open(server.url, server.service_key, request_timeout=10.0)
        episode = Episode(world, name, chance, server, rest, target)
        try:
            if kind != "copy":
                await episode.copy(source, _NO_FAULTS)
            server.max_rows = chance.choice([2, 3, 5])
            if kind == "copy":
                await episode.copy(source, rates)
            elif kind == "verify":
                execute(target, statements)
                await episode.verify(rates, planted)
                await episode.fix(source, rates)
            else:
                execute(source if kind == "sync" else target, statements + _MANY)
                await episode.sync(source, rates, reverse=kind == "reverse")
        finally:
            await rest.close()
        return episode.ended
