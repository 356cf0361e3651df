"""Writers of the stages that have PostgreSQL for authority, with pools of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from app.common.metrics import Metrics
from app.cutover.fencing import WriteGuard
from app.cutover.replication.to_supabase.outbox_writer import OutboxWriter
from app.repositories.backend import RepositoryBackend
from app.settings import Settings
from app.stores.postgres.database import Database
from app.stores.supabase.client import SupabaseRest
from tests.fixtures.cutover import Pair
from tests.support.relay import Relay


@asynccontextmanager
async def writer_of(
    settings: Settings, process: str = "p", *, start: bool = True, metrics: Metrics | None = None
) -> AsyncIterator[OutboxWriter]:
    """A writer, started."""
    url, key = settings.require_supabase()
    rest = await SupabaseRest.open(url, key, request_timeout=settings.mirror_timeout)
    own = Database(settings.require_database_url(), guard=WriteGuard(settings.flags.stage, process))
    mirrors = Database(settings.require_database_url(), pool_size=settings.mirror_connections)
    backend = RepositoryBackend(own, default_timezone="Europe/Moscow")
    writer = OutboxWriter(backend, rest, mirrors, settings, process, metrics or Metrics())
    if start:
        await writer.start()
    try:
        yield writer
    finally:
        await writer.close()
        for pool in (own, mirrors):
            await pool.close()
        await rest.close()


@asynccontextmanager
async def relay_to_supabase(pair: Pair) -> AsyncIterator[Relay]:
    """A relay before Supabase, which runs beside the test."""
    address = urlsplit(pair.supabase.url)
    assert address.hostname
    assert address.port
    relay = await asyncio.to_thread(Relay, (address.hostname, address.port))
    try:
        yield relay
    finally:
        await asyncio.to_thread(relay.close)


def entries(pair: Pair) -> list[Any]:
    """The outbox: key, attempts, whether unsure, whether to be read back, error."""
    return pair.ask("SELECT key, attempts, unsure, recheck_at IS NOT NULL, last_error FROM botdata.outbox ORDER BY id")


def client(yclients_id: int, **values: Any) -> dict[str, Any]:
    """A client to write."""
    return {"yclients_id": yclients_id, "company_id": 1, "phone": f"7999{yclients_id:07}", **values}


async def let_an_hour_pass(pair: Pair) -> None:
    """For the outbox: what waits for its time is due, in the order in which it waits.

    Every sender's turn is waited for at once: one that has some entries, and wants others, would be a deadlock.
    """
    await asyncio.to_thread(  # a sender of this process may hold an entry
        pair.ask,
        "LOCK TABLE botdata.outbox IN EXCLUSIVE MODE; "
        "UPDATE botdata.outbox SET next_attempt_at = next_attempt_at - interval '1 hour', "
        "recheck_at = recheck_at - interval '1 hour'",
    )


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for a condition; AssertionError where it does not come."""
    for _ in range(int(seconds / 0.05)):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come")


def somebody_waits(pair: Pair) -> bool:
    """Whether a session of the target waits for a lock."""
    waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return pair.ask(waiting) != []
