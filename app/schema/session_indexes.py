"""Indexes that the WhatsApp session tables lack, made while the login goes on writing.

The upgrade would make them too, inside its transaction: until that ends, it would keep the login from writing.
"""

from collections.abc import Sequence

import psycopg
from psycopg import AsyncConnection, sql
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex

from app.models import Base


async def make_session_indexes(connection: AsyncConnection, names: Sequence[str], lock_timeout: float) -> None:
    """Make indexes of these names, as the models have them.

    Args:
        connection: in autocommit.
        lock_timeout: seconds to wait for each transaction that is in the way.

    Raises:
        psycopg.Error: the server refuses; no half-made index is left.
    """
    if not names:
        return
    await connection.execute(f"SET lock_timeout = {max(1, round(lock_timeout * 1000))}")
    indexes = {str(index.name): index for table in Base.metadata.tables.values() for index in table.indexes}
    for name in names:
        # What a killed start left half made is in the way by its name.
        await _drop(connection, name)
        statement = str(CreateIndex(indexes[name]).compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
        try:
            await connection.execute(statement.replace("CREATE INDEX ", "CREATE INDEX CONCURRENTLY ", 1))
        except psycopg.errors.ProgramLimitExceeded:
            await _drop(connection, name)  # a row is too large for it; the upgrade says so
        except psycopg.Error:
            await _drop(connection, name)
            raise


async def _drop(connection: AsyncConnection, name: str) -> None:
    await connection.execute(
        sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(sql.Identifier("public", name)).as_string(connection)
    )
