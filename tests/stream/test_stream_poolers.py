"""A change stream through PgBouncer, as the role of docs/rights.md, which is no superuser."""

import uuid
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest

from tests.cli.test_roles import READER, STREAMER
from tests.fixtures.streams import StreamEnds
from tests.migration.engine import execute, row_texts, tables
from tests.pooler.bouncer import Mode, run_bouncer

_WORDS = ("sync", "--by", "stream", "--accept-unbounded-wal", "--until-lsn", "now", "--tables", "clients")


@pytest.fixture
def reader(salon: StreamEnds) -> Iterator[str]:
    """The document's role, which may follow a stream of the salon's tables."""
    word = f"botdata_test_{uuid.uuid4().hex[:8]}"
    execute(salon.source, f"CREATE ROLE {word}_tables_owner; ALTER TABLE clients OWNER TO {word}_tables_owner")
    database = salon.source.rpartition("/")[2]
    execute(salon.source, READER.replace("salon", word))
    execute(salon.source, STREAMER.replace("salon", word).replace("DATABASE postgres", f"DATABASE {database}"))
    yield f"{word}_reader"
    with psycopg.connect(salon.source, autocommit=True) as connection:
        for (role,) in connection.execute("SELECT rolname FROM pg_roles WHERE starts_with(rolname, %s)", [word]):
            connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_through_a_pooler(salon: StreamEnds, reader: str, mode: Mode) -> None:
    with run_bouncer(salon.node.url().replace("postgres@", f"{reader}@"), mode=mode, size=10) as bouncer:
        pooled = replace(salon, source=bouncer.url(salon.source))
        await pooled.until_now(tables("clients"))
        execute(salon.source, "UPDATE clients SET notes = 'x' WHERE id = 3; DELETE FROM clients WHERE id = 4")
        assert (await pooled.until_now(tables("clients"))).complete
        assert row_texts(salon.target, "clients") == row_texts(salon.source, "clients")
