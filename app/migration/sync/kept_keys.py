"""Keys that a sync's look found, kept in a temporary table of the target until they are needed, a part at a time."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Self

from psycopg import AsyncConnection, sql

from app.common.keys import Key

_PART = 10_000


@dataclass(frozen=True, slots=True)
class KeptKeys:
    """Different keys, in their order.

    Attributes:
        count: how many there are.
    """

    count: int
    _connection: AsyncConnection
    _table: sql.Identifier

    @classmethod
    async def keep(cls, connection: AsyncConnection, name: str, query: sql.Composed) -> Self:
        """Keep what a query for keys (text[]) gives, in the place of what was kept under this name."""
        table = sql.Identifier("pg_temp", f"kept_{hashlib.sha256(name.encode()).hexdigest()[:16]}")
        await connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(table))
        made = await connection.execute(
            sql.SQL(
                "CREATE TABLE {} AS SELECT row_number() OVER (ORDER BY key) AS number, key FROM (SELECT DISTINCT key "
                "FROM ({}) k (key)) k"
            ).format(table, query)
        )
        await connection.execute(sql.SQL("CREATE INDEX ON {} (number)").format(table))
        return cls(made.rowcount, connection, table)

    async def parts(self) -> AsyncIterator[list[Key]]:
        """The keys, some thousands at a time; there are none any more after the last."""
        query = sql.SQL("SELECT key FROM {} WHERE number > %(after)s AND number <= %(after)s + {} ORDER BY number")
        for after in range(0, self.count, _PART):
            cursor = await self._connection.execute(query.format(self._table, sql.Literal(_PART)), {"after": after})
            yield [tuple(key) for (key,) in await cursor.fetchall()]
        await self._connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(self._table))
