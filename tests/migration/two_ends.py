"""A source of any schema, over REST or over a connection; the target is the tests' fresh database."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from app.migration.sync import Sync
from app.migration.sync_options import SyncOptions
from app.migration.sync_report import SyncReport
from tests.migration.conftest import Source
from tests.migration.engine import Told, execute, source_of
from tests.support.page_server import PageServer
from tests.support.postgres import PostgresServer

MakeSource = Callable[[str], Source]
BOTH = ["page server", "connection"]


@contextmanager
def making_sources(kind: str, server: PostgresServer) -> Iterator[MakeSource]:
    """Makes databases with what a script puts into them; they are dropped at the end."""
    with ExitStack() as stack:

        def make(script: str) -> Source:
            url = server.create_database()
            stack.callback(server.drop_database, url)
            execute(url, script)
            if kind == "connection":
                return Source(url, "", url, is_lite=False)
            pages = stack.enter_context(PageServer(url, max_rows=4))
            return Source(pages.url, pages.service_key, url, is_lite=False)

        yield make


async def sync_from(source: Source, target: str, chosen: Any, told: Told | None = None, **options: Any) -> SyncReport:
    """One sync from a source."""
    return await Sync(lambda: source_of(source), target, chosen, told or Told(), SyncOptions(**options)).run()


@pytest.fixture(params=BOTH)
def make_source(request: pytest.FixtureRequest, postgres_server: PostgresServer) -> Iterator[MakeSource]:
    """For a source over REST, and for one over a connection."""
    with making_sources(request.param, postgres_server) as make:
        yield make
