"""Runs: which commands wrote to the target, from which source, and the snapshots of the source that they read."""

from collections.abc import Sequence
from typing import Any

from psycopg import AsyncConnection

from app.state.fetching import fetch_rows, fetch_value
from app.state.runs import foreign_keys
from app.state.schema_name import SCHEMA


async def begin_copy(
    connection: AsyncConnection, source: str, tables: Sequence[str], *, streams: bool = False, restart: bool = False
) -> tuple[int, bool]:
    """The newest copy from this source where it left a table, a foreign key or its own end unfinished; or a new one.

    One begun over REST does not go on over a connection, nor the other way: each remembers its place otherwise.

    A new one takes over from those that it leaves behind: they are abandoned, and the foreign keys that they took from
    the target are for it to put back.

    Args:
        source: its label.
        streams: it is read over a connection, in snapshots.
        restart: a new one although there is an unfinished one.

    Returns:
        The run's id, and whether it goes on.
    """
    unfinished = await fetch_value(
        connection,
        f"SELECT id FROM {SCHEMA}.runs r WHERE state = 'running' "
        f"AND id = (SELECT max(id) FROM {SCHEMA}.runs WHERE command = 'copy' AND source = %(source)s) "
        f"AND (EXISTS (SELECT FROM {SCHEMA}.snapshots s WHERE s.run_id = r.id) = %(streams)s "
        f"OR NOT EXISTS (SELECT FROM {SCHEMA}.checkpoints c WHERE c.run_id = r.id)) "
        "AND (EXISTS (SELECT FROM unnest(%(tables)s::text[]) chosen WHERE NOT EXISTS (SELECT "
        f"FROM {SCHEMA}.checkpoints c WHERE c.run_id = r.id AND c.table_name = chosen AND c.state = 'complete')) "
        f"OR NOT EXISTS (SELECT FROM {SCHEMA}.checkpoints c WHERE c.run_id = r.id AND c.state <> 'complete') "
        f"OR EXISTS (SELECT FROM {SCHEMA}.foreign_keys f WHERE f.run_id = r.id AND f.state <> 'validated'))",
        {"source": source, "tables": list(tables), "streams": streams},
    )
    if unfinished is not None and not restart:
        return unfinished, True
    async with connection.transaction():
        run = await begin(connection, "copy", source)
        await connection.execute(
            f"UPDATE {SCHEMA}.runs SET state = 'abandoned', finished_at = now() "
            "WHERE command = 'copy' AND source = %(source)s AND state = 'running' AND id < %(run)s",
            {"source": source, "run": run},
        )
        await foreign_keys.take_over(connection, run)
    return run, False


async def begin(connection: AsyncConnection, command: str, source: str) -> int:
    """A new run; returns its id."""
    statement = f"INSERT INTO {SCHEMA}.runs (command, source) VALUES (%(command)s, %(source)s) RETURNING id"
    return int(await fetch_value(connection, statement, {"command": command, "source": source}))


async def begin_instead(connection: AsyncConnection, command: str, source: str) -> int:
    """A new run in place of those of the command that were killed; returns its id."""
    await connection.execute(
        f"UPDATE {SCHEMA}.runs SET state = 'abandoned', finished_at = now() "
        "WHERE command = %(command)s AND state = 'running'",
        {"command": command},
    )
    return await begin(connection, command, source)


async def find_unfinished(connection: AsyncConnection, command: str, source: str) -> int | None:
    """The newest run of the command from this source that has not ended."""
    run: int | None = await fetch_value(
        connection,
        f"SELECT max(id) FROM {SCHEMA}.runs WHERE state = 'running' AND command = %(command)s AND source = %(source)s",
        {"command": command, "source": source},
    )
    return run


async def is_unfinished(connection: AsyncConnection, command: str) -> bool:
    """Whether the newest run of the command has not ended, at work or stopped."""
    state = await fetch_value(
        connection,
        f"SELECT state FROM {SCHEMA}.runs WHERE command = %(command)s ORDER BY id DESC LIMIT 1",
        {"command": command},
    )
    return bool(state == "running")


async def finish(connection: AsyncConnection, run: int) -> None:
    """Mark a run complete once all tables that it began are."""
    await connection.execute(
        f"UPDATE {SCHEMA}.runs SET state = 'complete', finished_at = now() WHERE id = %(run)s AND state = 'running' "
        f"AND NOT EXISTS (SELECT FROM {SCHEMA}.checkpoints WHERE run_id = %(run)s AND state <> 'complete')",
        {"run": run},
    )


async def describe_resumed(connection: AsyncConnection, run: int) -> str:
    """A sentence on the run that goes on: since when, and which tables are done and not read again."""
    ((begun_at, tables),) = await fetch_rows(
        connection,
        "SELECT to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'), (SELECT string_agg(table_name, ', ' "
        f"ORDER BY table_name) FROM {SCHEMA}.checkpoints WHERE run_id = id AND state = 'complete') "
        f"FROM {SCHEMA}.runs WHERE id = %(run)s",
        {"run": run},
    )
    done = f"; not read again, since they are done: {tables}" if tables else ""
    return f"run {run}, begun {begun_at} UTC, goes on where it stopped{done}"


async def newest_first(connection: AsyncConnection) -> list[tuple[Any, ...]]:
    """All runs.

    Returns:
        Of each: its id, command, source and state, and when it began and finished (ISO 8601, in UTC; None where it has
        not finished).
    """
    return await fetch_rows(
        connection,
        'SELECT id, command, source, state, to_char(started_at, \'YYYY-MM-DD"T"HH24:MI:SS"Z"\'), '
        f'to_char(finished_at, \'YYYY-MM-DD"T"HH24:MI:SS"Z"\') FROM {SCHEMA}.runs ORDER BY id DESC',
    )


async def last_source(connection: AsyncConnection, commands: Sequence[str]) -> str | None:
    """The source of the newest run of these commands."""
    source: str | None = await fetch_value(
        connection,
        f"SELECT source FROM {SCHEMA}.runs WHERE command = ANY (%(commands)s) ORDER BY id DESC LIMIT 1",
        {"commands": list(commands)},
    )
    return source


async def has_brought(connection: AsyncConnection, source: str, table: str) -> bool:
    """Whether rows of the table ever came from this source, or a copy from it came to the table."""
    statement = (
        f"SELECT EXISTS (SELECT FROM {SCHEMA}.writes w JOIN {SCHEMA}.runs ON id = run_id "
        f"WHERE table_name = %(table)s AND source = %(source)s) OR EXISTS (SELECT FROM {SCHEMA}.checkpoints c "
        f"JOIN {SCHEMA}.runs ON id = run_id WHERE table_name = %(table)s AND source = %(source)s)"
    )
    return bool(await fetch_value(connection, statement, {"table": table, "source": source}))


async def has_brought_whole(connection: AsyncConnection, source: str, table: str) -> bool:
    """Whether a copy of it was completed, or a sync; where none was, the target may lack rows that are not deleted."""
    statement = (
        f"SELECT EXISTS (SELECT FROM {SCHEMA}.checkpoints c JOIN {SCHEMA}.runs ON id = run_id "
        "WHERE table_name = %(table)s AND source = %(source)s AND c.state = 'complete') OR (EXISTS (SELECT FROM "
        f"{SCHEMA}.runs WHERE command = 'sync' AND source = %(source)s AND state = 'complete') "
        f"AND EXISTS (SELECT FROM {SCHEMA}.row_versions WHERE table_name = %(table)s))"
    )
    return bool(await fetch_value(connection, statement, {"table": table, "source": source}))


async def add_snapshot(connection: AsyncConnection, run: int, snapshot: str) -> int:
    """Note the snapshot that a start reads; gives how many the run has read, this one included."""
    await connection.execute(
        f"INSERT INTO {SCHEMA}.snapshots (run_id, snapshot) VALUES (%(run)s, %(snapshot)s)",
        {"run": run, "snapshot": snapshot},
    )
    count = f"SELECT count(*) FROM {SCHEMA}.snapshots WHERE run_id = %(run)s"
    return int(await fetch_value(connection, count, {"run": run}))
