"""Dropping a database, which the server does only when every session that it has, of any database, has taken note."""

import asyncio
from collections.abc import Awaitable, Callable

from psycopg import AsyncConnection, sql

from app.common.background import end_task
from app.state.fetching import fetch_row

_PATIENCE = 10.0  # seconds between looks at what a drop waits for
# A session takes no note while it waits for its client amid a COPY or an answer. Other roles' sessions hide that.
_WAITS_FOR = """
SELECT own.wait_event IS NOT DISTINCT FROM 'ProcSignalBarrier', coalesce((
    SELECT 'session ' || string_agg(format('%%s (%%s)', pid, datname), ', ' ORDER BY pid) FROM pg_stat_activity
    WHERE state = 'active' AND wait_event IN ('ClientRead', 'ClientWrite')
), 'a session of another role') FROM pg_stat_activity own WHERE own.pid = %(pid)s
"""


async def drop_database(
    connection: AsyncConnection, name: str, connect: Callable[[], Awaitable[AsyncConnection]]
) -> str | None:
    """Drop a database, if there is one of this name, with its sessions.

    Args:
        connect: another session at the same server, to look by.

    Returns:
        Why it is left, in words: the server would wait for as long as another client likes. None where it is gone.

    Raises:
        psycopg.Error: the server refuses, or cannot be reached.
    """
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    process = connection.info.backend_pid
    dropping = asyncio.ensure_future(connection.execute(drop))
    try:
        while not (await asyncio.wait({dropping}, timeout=_PATIENCE))[0]:
            async with await connect() as other:
                is_held_up, by = await fetch_row(other, _WAITS_FOR, {"pid": process})
            if is_held_up:
                return f"{name} cannot be dropped while {by} waits for its client amid a COPY or an answer"
        await dropping
    finally:
        await end_task(dropping)
    return None
