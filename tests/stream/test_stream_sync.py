"""A following sync by the change stream: what it brings, and that nothing is lost on the way."""

from typing import Any

from sqlalchemy import Column, Integer, MetaData, Table, Text

from app.migration.tables.copy_table import select_tables
from tests.fixtures.streams import StreamEnds
from tests.migration.engine import copy_from, execute, row_texts


def one(*columns: Any, name: str = "t") -> list[Table]:
    """A table of a project."""
    metadata = MetaData()
    Table(name, metadata, *columns)
    return select_tables(metadata)


PLAIN = one(Column("id", Integer, primary_key=True), Column("v", Text))


async def test_changes_come_over(stream_ends: StreamEnds) -> None:
    ends = stream_ends
    ends.make(
        "CREATE TABLE t (id integer PRIMARY KEY, v text)", "INSERT INTO t SELECT n, 'old' FROM generate_series(1, 9) n"
    )
    assert (await copy_from(ends.served, ends.target, PLAIN)).complete
    stream = ends.stream(PLAIN)
    await stream.begun()
    execute(ends.source, "INSERT INTO t VALUES (10, 'ten'), (11, NULL); UPDATE t SET v = 'new' WHERE id = 1")
    execute(ends.source, "DELETE FROM t WHERE id = 2; UPDATE t SET id = 30 WHERE id = 3")
    await stream.caught_up()
    assert row_texts(ends.target, "t") == row_texts(ends.source, "t")
    execute(ends.source, "TRUNCATE t; INSERT INTO t VALUES (1, 'one')")
    await stream.caught_up()
    report = await stream.end()
    assert row_texts(ends.target, "t") == row_texts(ends.source, "t") == ["(1,one)"]
    done = report.tables["t"]
    assert (report.complete, done.refused) == (True, ())
