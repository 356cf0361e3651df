"""A COPY from one server to another: what the source sends goes on to the target as it is, in pieces.

The source sends a message a row. `cursor.copy()` gives them one by one, with a step of the event loop for each. Here as
many as are there are taken out of libpq's buffer: 500,000 rows of 230 bytes take 0.9 s in place of 2.4 s, on one core
with the server. This file leans on `AsyncConnection.wait` and on `psycopg.generators` for that, which psycopg does not
document; no other file does.
"""

import select
from collections.abc import AsyncGenerator
from contextlib import aclosing
from time import monotonic

from psycopg import AsyncConnection, OperationalError, sql
from psycopg.abc import Buffer, PQGen
from psycopg.errors import error_from_result
from psycopg.generators import fetch_many
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn
from psycopg.waiting import WAIT_R

from app.migration.sources.pace import Pace
from app.stores.postgres.session import source_errors

_PIECE_BYTES = 128 * 1024


async def pipe(
    source: AsyncConnection,
    query: sql.Composed,
    target: AsyncConnection,
    statement: sql.Composed,
    pace: Pace,
    *,
    range_of: str | None = None,
) -> int:
    """Copy the rows of a query at the source into the target; in memory are a few pieces, and the largest row.

    Args:
        query, statement: COPY ... TO STDOUT and COPY ... FROM STDIN, of one format.
        pace: where the rate is exceeded, what the source sends is left unread for a while, so that it sends no more.
        range_of: the table of whose rows this is one range of many, so that the time that it takes is compared.

    Returns:
        How many rows the source sent.

    Raises:
        StoreError: the source failed.
        psycopg.Error: the target failed, or refuses a row.
    """
    stream = SourceStream(source, query)
    began = monotonic()
    async with aclosing(stream.pieces()) as pieces, target.cursor().copy(statement) as writing:
        async for piece in pieces:
            await writing.write(piece)
            await stream.pay(pace)
            if _has_refused(target):
                break  # the end of the block raises what it said; the rest of the rows is not sent for nothing
    if not stream.ended:
        raise OperationalError("the target spoke in the middle of a COPY, and named no error")
    if range_of is not None:
        # While the target is waited for, the source is not, though it may be as slow: at first all of the time counts.
        took = monotonic() - began - stream.held_back
        pace.answered(range_of, "ranges", stream.size, stream.waited, at_first=took)
    return stream.rows


def _has_refused(target: AsyncConnection) -> bool:
    """Whether the target has said something, which in a COPY is an error: sessions here are sent no notices.

    TLS has messages of its own, so there it cannot be told before the end. Nor can it where libpq has read it already,
    as it does when the target is too busy to take what is sent: the rest of the rows is sent for nothing then.
    """
    if target.pgconn.ssl_in_use:
        return False
    waiting = select.poll()
    waiting.register(target.fileno(), select.POLLIN)
    return bool(waiting.poll(0))


class SourceStream:
    """The rows of a COPY TO STDOUT.

    Attributes:
        ended: all of them came.
        rows: how many there were, once it has ended.
        size: bytes that came.
        waited: seconds that the source was waited for.
        held_back: seconds that it was left unread, to keep to the rate.
    """

    def __init__(self, connection: AsyncConnection, query: sql.Composed) -> None:
        self._connection = connection
        self._query = query
        self.ended = False
        self.rows = 0
        self.size = 0
        self.waited = 0.0
        self.held_back = 0.0
        self._came = 0
        self._paid = 0, 0

    async def pieces(self) -> AsyncGenerator[Buffer, None]:
        """The bytes as they come, a few rows to a few thousand at a time; errors are StoreErrors."""
        began = monotonic()
        with source_errors():
            async with self._connection.cursor() as cursor, cursor.copy(self._query):
                while True:
                    piece = await self._connection.wait(self._next(self._connection.pgconn))
                    self.waited += monotonic() - began
                    if not piece:
                        return
                    self.size += len(piece)
                    yield piece
                    began = monotonic()

    async def pay(self, pace: Pace) -> None:
        """Count what has come since the last time."""
        rows, size = self._paid
        self._paid = self._came, self.size
        began = monotonic()
        await pace.hold_back(rows=self._came - rows, size=self.size - size)
        self.held_back += monotonic() - began

    def _next(self, pgconn: PGconn) -> PQGen[bytes]:
        """The next rows, at least one; nothing at the end."""
        taken: list[Buffer] = []
        size = 0
        looked = False
        while size < _PIECE_BYTES and not self.ended:
            length, row = pgconn.get_copy_data(1)
            if length > 0:
                taken.append(row)
                size += length
                self._came += 1
                looked = False
            elif length == 0:  # libpq's buffer of a few rows is empty; the socket's, a larger one, often is not
                while looked and not (yield WAIT_R):
                    continue
                looked = not looked
                pgconn.consume_input()
            else:
                yield from self._end(pgconn)
                break
        return b"".join(taken)

    def _end(self, pgconn: PGconn) -> PQGen[None]:
        self.ended = True
        for result in (yield from fetch_many(pgconn)):
            if result.status == ExecStatus.FATAL_ERROR:
                raise error_from_result(result)
            self.rows = result.command_tuples or 0
