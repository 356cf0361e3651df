"""A project adopted once for all tests of this directory that only look at it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.adopt.adopting import Adopted, adopt
from tests.support.postgres import PostgresServer

EDGES = (Path(__file__).parent / "edges.sql").read_text("utf-8")


@dataclass(frozen=True)
class Project:
    """A directory, the database that it was made of, and what `adopt` said."""

    directory: Path
    source: str
    adopted: Adopted


def load(url: str, statements: str) -> None:
    """Carry out statements that may begin and end transactions themselves."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statements.encode())


@pytest.fixture(scope="session")
def edges(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The project of edges.sql, for tests that change nothing in its source."""
    source = postgres_server.create_database()
    load(source, EDGES)
    directory = tmp_path_factory.mktemp("adopt") / "edges"
    yield Project(directory, source, adopt(source, directory, target=postgres_server.admin_url))
    postgres_server.drop_database(source)


@pytest.fixture
def upgraded(edges: Project, fresh_database: str) -> str:
    """A target at the project's newest revision."""
    statements = (edges.directory / "alembic/versions/0001_schema.sql").read_text("utf-8")
    load(fresh_database, f"BEGIN; {statements} COMMIT;")
    with psycopg.connect(fresh_database) as connection:
        connection.execute("CREATE TABLE public.alembic_version (version_num varchar(32) PRIMARY KEY)")
        connection.execute("INSERT INTO public.alembic_version VALUES ('0001')")
    return fresh_database
