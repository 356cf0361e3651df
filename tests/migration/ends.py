"""Two databases of a made-up schema, the source of which is read over REST or over a connection."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.migration.conftest import Source
from tests.migration.engine import execute
from tests.support.page_server import PageServer
from tests.support.postgres import PostgresServer


@dataclass(frozen=True)
class Ends:
    """The source as it is served, its database and the target's, both empty."""

    served: Source
    source: str
    target: str

    @property
    def connected(self) -> bool:
        """Whether the source is read over a connection."""
        return self.served.url.startswith("postgresql")

    def make(self, schema: str, rows: str, target: str | None = None) -> None:
        """The schema on both sides (or another one in the target), and the rows in the source."""
        execute(self.source, schema)
        execute(self.source, rows)
        execute(self.target, schema if target is None else target)


@pytest.fixture(params=["page server", "connection"])
def ends(request: pytest.FixtureRequest, postgres_server: PostgresServer, fresh_database: str) -> Iterator[Ends]:
    """Both ends, without a table yet."""
    source = postgres_server.create_database()
    try:
        if request.param == "connection":
            yield Ends(Source(source, "", source, is_lite=False), source, fresh_database)
        else:
            with PageServer(source) as pages:
                yield Ends(Source(pages.url, pages.service_key, source, is_lite=False), source, fresh_database)
    finally:
        postgres_server.drop_database(source)
