"""A following stream that is stopped brings what was committed by then."""

from tests.fixtures.streams import StreamEnds
from tests.migration.engine import execute, row_texts
from tests.stream.projects import PLAIN, ROWS, SCHEMA


async def test_what_was_committed_before_the_stop_is_in(stream_ends: StreamEnds) -> None:
    ends = stream_ends
    ends.make(SCHEMA, ROWS)
    stream = ends.stream(PLAIN)
    await stream.begun()
    execute(ends.source, "UPDATE t SET v = 'last' WHERE id < 5; DELETE FROM t WHERE id = 9; INSERT INTO t VALUES (10)")
    await stream.end()
    assert row_texts(ends.target, "t") == row_texts(ends.source, "t")
    assert any("all that was committed when this was stopped has come" in notice for notice in ends.told.notices)
