"""A source of either kind, opened for as long as its rows are read."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.migration.retry import Limits
from app.migration.sources.pace import Pace
from app.migration.sources.postgres.postgres_source import open_postgres_source
from app.migration.sources.rest.rest_source import RestSource
from app.migration.sources.source import Source
from app.stores.supabase.client import SupabaseRest


@dataclass(frozen=True, slots=True)
class Supabase:
    """A source over REST."""

    url: str
    key: str
    role_ok: bool = False


@asynccontextmanager
async def open_source(
    source: Supabase | str,
    on_retry: Callable[[str], None] = lambda message: None,
    *,
    step: str,
    limits: Limits | None = None,
    pace: Pace | None = None,
) -> AsyncIterator[Source]:
    """The source, for as long as the context lasts.

    Args:
        source: Supabase over REST, or the URL of a PostgreSQL.
        step: the name of the step.
        limits, on_retry, pace: as for every source.

    Raises:
        BotdataError: it cannot be opened.
    """
    if isinstance(source, str):
        async with open_postgres_source(source, step=step, limits=limits, on_retry=on_retry, pace=pace) as postgres:
            yield postgres
        return
    async with await SupabaseRest.open(source.url, source.key, request_timeout=60.0) as rest:
        yield RestSource(rest, source.url, limits=limits, on_retry=on_retry, pace=pace)
