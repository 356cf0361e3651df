"""The salon's tables at both ends of a stream."""

from collections.abc import Iterator

import pytest

from tests.fixtures.servers import migrated_template
from tests.fixtures.streams import StreamEnds, dropping
from tests.migration.engine import add_clients
from tests.support.postgres import PostgresServer
from tests.support.streaming import Node


@pytest.fixture
def salon(logical_node: Node, logical_server: PostgresServer, database_url: str) -> Iterator[StreamEnds]:
    """The salon's tables at both ends, with clients at the source."""
    source = logical_server.create_database(template=migrated_template(logical_server))
    with dropping(logical_server, source):
        add_clients(source, 30)
        yield StreamEnds(logical_node, source, database_url)
