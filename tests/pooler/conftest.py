"""Poolers in front of the tests' PostgreSQL."""

from collections.abc import Iterator

import pytest

from tests.pooler.bouncer import Bouncer, run_bouncer
from tests.support.postgres import PostgresServer


@pytest.fixture(scope="session")
def transaction_pooler(postgres_server: PostgresServer) -> Iterator[Bouncer]:
    """In transaction mode, with four server connections for each database."""
    with run_bouncer(postgres_server.admin_url) as bouncer:
        yield bouncer


@pytest.fixture(scope="session")
def session_pooler(postgres_server: PostgresServer) -> Iterator[Bouncer]:
    """In session mode, with a server connection for each client."""
    with run_bouncer(postgres_server.admin_url, mode="session", size=30) as bouncer:
        yield bouncer
