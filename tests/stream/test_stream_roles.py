"""A change stream as the role of docs/rights.md, which is no superuser."""

import uuid
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from sqlalchemy.engine import make_url

from app.errors import MigrationError
from tests.cli.test_roles import READER, STREAMER
from tests.fixtures.streams import StreamEnds
from tests.migration.engine import execute, query, row_texts
from tests.stream.projects import PLAIN, ROWS, SCHEMA


@pytest.fixture
def word(stream_ends: StreamEnds) -> Iterator[str]:
    """What the roles' names begin with."""
    word = f"botdata_test_{uuid.uuid4().hex[:8]}"
    yield word
    with psycopg.connect(stream_ends.source, autocommit=True) as connection:
        for (role,) in connection.execute("SELECT rolname FROM pg_roles WHERE starts_with(rolname, %s)", [word]):
            connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def _as_reader(ends: StreamEnds, word: str) -> StreamEnds:
    url = make_url(ends.source).set(username=f"{word}_reader")
    return replace(ends, source=url.render_as_string(hide_password=False))


async def test_a_role_of_the_document(stream_ends: StreamEnds, word: str) -> None:
    stream_ends.make(SCHEMA, ROWS)
    execute(stream_ends.source, f"CREATE ROLE {word}_tables_owner; ALTER TABLE t OWNER TO {word}_tables_owner")
    database = stream_ends.source.rpartition("/")[2]
    execute(stream_ends.source, READER.replace("salon", word))
    ends = _as_reader(stream_ends, word)
    with pytest.raises(MigrationError, match="may not replicate") as raised:
        await ends.until_now(PLAIN)
    assert f"ALTER ROLE {word}_reader REPLICATION" in str(raised.value.next_step)
    execute(stream_ends.source, STREAMER.replace("salon", word).replace("DATABASE postgres", f"DATABASE {database}"))
    await ends.until_now(PLAIN)
    execute(stream_ends.source, "UPDATE t SET v = 'new' WHERE id = 1; DELETE FROM t WHERE id = 2")
    assert (await ends.until_now(PLAIN)).complete
    assert row_texts(stream_ends.target, "t") == row_texts(stream_ends.source, "t")


async def test_a_publication_that_the_owner_makes(stream_ends: StreamEnds, word: str) -> None:
    stream_ends.make(SCHEMA, ROWS)
    execute(stream_ends.source, READER.replace("salon", word) + f"ALTER ROLE {word}_reader REPLICATION")
    database = stream_ends.source.rpartition("/")[2]
    execute(stream_ends.source, f"GRANT CREATE ON DATABASE {database} TO {word}_reader")
    ends = _as_reader(stream_ends, word)
    with pytest.raises(MigrationError, match="must be owner of table t") as raised:
        await ends.until_now(PLAIN)
    statement = str(raised.value.next_step).partition("tables: ")[2].partition("; then")[0]
    assert statement.startswith("CREATE PUBLICATION")
    execute(stream_ends.source, statement)
    assert (await ends.until_now(PLAIN)).complete
    execute(stream_ends.source, "UPDATE t SET v = 'new' WHERE id = 1")
    assert (await ends.until_now(PLAIN)).complete
    assert row_texts(stream_ends.target, "t") == row_texts(stream_ends.source, "t")


async def test_a_strangers_slot_and_publication_are_left_alone(stream_ends: StreamEnds) -> None:
    stream_ends.make(SCHEMA, ROWS)
    await stream_ends.until_now(PLAIN)
    (name,) = stream_ends.slots()
    execute(stream_ends.source, "SELECT pg_drop_replication_slot(%s)", [name])
    execute(stream_ends.source, "SELECT pg_create_physical_replication_slot(%s)", [name])
    with pytest.raises(MigrationError, match="is not one of botdata's, and is left alone"):
        await stream_ends.until_now(PLAIN)
    execute(stream_ends.source, "SELECT pg_drop_replication_slot(%s)", [name])
    execute(stream_ends.source, f"DROP PUBLICATION {name}; CREATE PUBLICATION {name} FOR ALL TABLES")
    with pytest.raises(MigrationError, match="it publishes all tables, and is left alone"):
        await stream_ends.until_now(PLAIN)
    assert query(stream_ends.source, "SELECT puballtables FROM pg_publication") == [(True,)]
