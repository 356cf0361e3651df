"""Sessions at the source that all read the same snapshot."""

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.pq import TransactionStatus

from app.common.driver_errors import without_values
from app.errors import StoreError
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.tables.copy_table import CopyTable, named
from app.state.fetching import fetch_value
from app.stores.postgres.session import begin_snapshot, source_errors

# Views and foreign tables either cannot be locked or are not what holds the rows.
_CAN_BE_LOCKED = (
    "SELECT relkind IN ('r', 'p') AND has_table_privilege(oid, 'SELECT') FROM pg_class WHERE oid = to_regclass(%s)"
)
_USABLE = {TransactionStatus.IDLE, TransactionStatus.INTRANS, TransactionStatus.INERROR}


class SnapshotSession:
    """A session of its own in an exported snapshot; made anew, in the same snapshot, where its connection is lost.

    Args:
        snapshot: the name that `PostgresSource.snapshot` gave, which is good for as long as that session lives.
    """

    def __init__(self, source: PostgresSource, snapshot: str) -> None:
        self.source = source
        self._snapshot = snapshot
        self._connection: AsyncConnection | None = None

    async def connection(self) -> AsyncConnection:
        """The session, in its transaction.

        Raises:
            StoreError: it cannot be had, or the snapshot is gone.
        """
        connection = self._connection
        if connection is None or connection.info.transaction_status not in _USABLE:
            await self.close()
            self._connection = connection = await self.source.connect()
        with source_errors():
            if connection.info.transaction_status == TransactionStatus.INERROR:
                await connection.execute("ROLLBACK")
            if connection.info.transaction_status == TransactionStatus.IDLE:
                await self._take_snapshot(connection)
        return connection

    async def reading(self, table: CopyTable) -> AsyncConnection:
        """The session, which reads the table without waiting for a lock of it.

        The session that exported the snapshot holds the table, as every reader does. So one who waits to have it alone
        waits for that session, and this one would wait for them: a circle that no server sees. pg_dump's workers take
        their locks in the same way.

        Raises:
            StoreError: somebody waits to have the table alone; or as `connection`.
        """
        connection = await self.connection()
        with source_errors():
            if await fetch_value(connection, _CAN_BE_LOCKED, [named(connection, table.identifier)]):
                lock = sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE NOWAIT").format(table.identifier)
                try:
                    await connection.execute(lock)
                except psycopg.errors.LockNotAvailable as error:
                    raise StoreError(
                        f"another session at the source waits to have {table.name} alone, and has to wait until this "
                        "copy's snapshot has ended; so it is ended now, and the next start takes a new one"
                    ) from without_values(error)
        return connection

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            await self._connection.close()

    async def _take_snapshot(self, connection: AsyncConnection) -> None:
        try:
            await begin_snapshot(connection, self._snapshot)
        except psycopg.Error as error:
            if error.sqlstate is None:
                raise
            raise StoreError(
                "the session that held the snapshot has ended; the next start takes a new snapshot",
                sqlstate=error.sqlstate,
            ) from without_values(error)
