"""A connection through a pooler, whose server process may serve other clients between two transactions.

What one client sets there, others find, and what others have set, this one finds. So nothing is set that outlives a
transaction, and no statement is prepared.

A statement in autocommit is sent alone, in one round trip, and nothing in it may depend on a setting: values come in
PostgreSQL's binary form, which no setting changes, and tables are named with their schema. Its time is kept here, since
there is no `statement_timeout` of ours: the server is told to cancel it.

A transaction begins with the settings that it counts on, in one round trip with its first statement. A pipeline of
psycopg's may end with a Flush after its Sync. A pooler that has taken its server back by then gives one out again, and
keeps it for this client until the next Sync. So a pipeline ends amid a transaction, never with it.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Self

import psycopg
from psycopg import IsolationLevel
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.types.datetime import DateLoader, TimestampLoader, TimestamptzBinaryLoader, TimestamptzLoader

from app.stores.postgres.keepalives import answer_or_hang_up
from app.stores.postgres.statement_deadline import StatementDeadline

# Another client's statement was found under a name of this one's, or this one's was not: a pooler is in between.
ANOTHERS_SESSION = (psycopg.errors.InvalidSqlStatementName, psycopg.errors.DuplicatePreparedStatement)

# What changes the text of values, read or written: the role, or its database, may have settings of its own. A commit's
# warning is heard, whatever the role's messages are. PostgreSQL would compile some statements, as it takes them for
# dear before it knows its tables: 40 ms for a write of one row.
_SETTINGS = (
    "set_config('TimeZone', 'UTC', {local}), set_config('statement_timeout', '{milliseconds}', {local})"
    ", set_config('client_min_messages', 'warning', {local})"
    ", set_config('DateStyle', 'ISO, YMD', {local}), set_config('array_nulls', 'on', {local})"
    ", set_config('bytea_output', 'hex', {local}), set_config('extra_float_digits', '1', {local})"
    ", set_config('jit', 'off', {local})"
)
# What waits for a lock is to read what was committed meanwhile. psycopg decodes JSON as UTF-8 alone.
_OF_SESSION = (
    ", set_config('default_transaction_isolation', 'read committed', is_pooled)"
    ", set_config('client_encoding', 'UTF8', is_pooled)"
)
# Through a pooler also where the tables are. Another client's temporary tables would come first where pg_temp is not
# named.
_PATH = (
    ", set_config('search_path', "
    "concat_ws(', ', 'public', nullif(current_setting('search_path'), ''), 'pg_temp'), true)"
)

# A commit of ours lasts, whatever another client thinks of its own.
_DURABLE = b"SET LOCAL synchronous_commit TO DEFAULT"


async def settle(connection: psycopg.AsyncConnection[Any], milliseconds: int, *, is_pooled: bool) -> bool:
    """Give a new connection its settings: of its session, or of each transaction where it goes through a pooler.

    A pooler greets with a number of its own, where a server greets with the number of its process. The server itself
    compares them, so that one round trip does both.

    Args:
        milliseconds: for `statement_timeout`.
        is_pooled: known to go through a pooler, whatever the greeting.

    Returns:
        Whether it goes through a pooler.
    """
    greeting = connection.info.backend_pid
    settings = _SETTINGS.format(milliseconds=milliseconds, local="is_pooled") + _OF_SESSION
    pooled = "true" if is_pooled else f"pg_backend_pid() <> {greeting}"
    await connection.set_autocommit(True)
    query = f"SELECT is_pooled, {settings} FROM (SELECT {pooled} AS is_pooled) AS asked"  # noqa: S608 - numbers
    row = await (await answer_or_hang_up(connection, connection.execute(query.encode()))).fetchone()
    await connection.set_autocommit(False)
    if row is None or not row[0]:
        return False
    connection.prepare_threshold = None
    # A client may have left another one as the server's default; what waits for a lock is to read what was committed.
    await connection.set_isolation_level(IsolationLevel.READ_COMMITTED)
    for name, loader in _LOADERS:
        connection.adapters.register_loader(name, loader)
    connection.cursor_factory = _cursor_with(milliseconds)
    return True


def _cursor_with(milliseconds: int) -> type[psycopg.AsyncCursor[Any]]:
    settings = f"SELECT {_SETTINGS.format(milliseconds=milliseconds, local='true')}{_PATH}".encode()
    deadline = StatementDeadline(milliseconds / 1000)

    class Cursor(psycopg.AsyncCursor[Any]):
        """Begins each transaction with the settings; a statement in autocommit needs none, and has its time."""

        async def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
            connection = self.connection
            if not _is_idle(connection):
                return await super().execute(query, params, **options)
            if connection.autocommit:
                return await deadline.keep(super().execute(query, params, **{**options, "binary": True}))
            try:
                async with connection.pipeline():
                    await psycopg.AsyncCursor(connection).execute(_DURABLE)
                    await psycopg.AsyncCursor(connection).execute(settings)
                    return await super().execute(query, params, **options)
            except BaseException as error:
                if connection.pgconn.pipeline_status != PipelineStatus.OFF:
                    connection.pgconn.finish()  # cancelled amid the answers: nothing more can be made of it
                    if isinstance(error.__context__, asyncio.CancelledError):
                        raise error.__context__ from None  # which psycopg's word on that has replaced
                raise

        async def executemany(self, query: Any, params_seq: Iterable[Any], *, returning: bool = False) -> None:
            if _is_idle(self.connection) and not self.connection.autocommit:
                await psycopg.AsyncCursor(self.connection).execute(_DURABLE)
                await psycopg.AsyncCursor(self.connection).execute(settings)
            await super().executemany(query, params_seq, returning=returning)

    return Cursor


def _is_idle(connection: psycopg.AsyncConnection[Any]) -> bool:
    return connection.pgconn.transaction_status == TransactionStatus.IDLE


# psycopg's own go by what the server last said of its time zone and styles, which a transaction's settings need not be.
class _OfNoSession:
    def __init__(self, oid: int, context: Any = None) -> None:
        super().__init__(oid)  # type: ignore[call-arg]


_LOADERS: tuple[tuple[str, Any], ...] = tuple(
    (name, type(loader.__name__, (_OfNoSession, loader), {"__module__": __name__}))
    for name, loader in (
        ("date", DateLoader),
        ("timestamp", TimestampLoader),
        ("timestamptz", TimestamptzLoader),
        ("timestamptz", TimestamptzBinaryLoader),
    )
)
