"""Rehearsals: the throw-away databases that were made, so that what a killed one left is found and removed."""

from dataclasses import dataclass

from psycopg import AsyncConnection

from app.state.fetching import fetch_each, fetch_value
from app.state.schema_name import SCHEMA
from app.state.tool_schema import may_read

# Of the session of a rehearsal that lives, and of the one that makes its database; %(id)s is the rehearsal's id.
OWNER, MAKER = "owner", "maker"
_LOCK = f"hashtextextended('{SCHEMA} rehearsal ' || %(id)s::text || ' ' || %(part)s::text, 0)"


@dataclass(frozen=True, slots=True)
class RehearsalRecord:
    """A rehearsal that may have left something.

    Attributes:
        id: hexadecimal digits, a part of the database's name.
        server: of `--on`, without user and password; None: the target's own.
        machine: the host's name that it ran on.
        directory: of the stand-in source, on that machine; None: it has none.
        made: the database was made, and marked inside.
        began_at: ISO 8601, in UTC.
    """

    id: str
    server: str | None
    machine: str
    directory: str | None
    made: bool
    began_at: str


async def record_rehearsal(
    connection: AsyncConnection, rehearsal: str, *, server: str | None, machine: str, directory: str | None
) -> None:
    """Note a rehearsal before it makes anything."""
    await connection.execute(
        f"INSERT INTO {SCHEMA}.rehearsals (id, server, machine, directory) "
        "VALUES (%(id)s, %(server)s, %(machine)s, %(directory)s)",
        {"id": rehearsal, "server": server, "machine": machine, "directory": directory},
    )


async def note_made(connection: AsyncConnection, rehearsal: str) -> None:
    """Its database is made, and marked."""
    await connection.execute(f"UPDATE {SCHEMA}.rehearsals SET made = true WHERE id = %(id)s", {"id": rehearsal})


async def note_removed(connection: AsyncConnection, rehearsal: str) -> None:
    """Nothing of it is left."""
    await connection.execute(
        f"UPDATE {SCHEMA}.rehearsals SET removed_at = clock_timestamp() WHERE id = %(id)s", {"id": rehearsal}
    )


async def not_removed(connection: AsyncConnection) -> list[RehearsalRecord]:
    """The rehearsals that live, or may have left something, the oldest first; none of a target without the table."""
    if not await may_read(connection, "rehearsals"):
        return []
    return await fetch_each(
        connection,
        RehearsalRecord,
        "SELECT id, server, machine, directory, made, "
        "to_char(began_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') "
        f"FROM {SCHEMA}.rehearsals WHERE removed_at IS NULL ORDER BY began_at",
    )


async def take_lock(connection: AsyncConnection, rehearsal: str, part: str) -> bool:
    """Hold a lock of a rehearsal, OWNER or MAKER, as long as the session lives; False where another session does."""
    statement = f"SELECT pg_try_advisory_lock({_LOCK})"
    return bool(await fetch_value(connection, statement, {"id": rehearsal, "part": part}))


async def give_lock_back(connection: AsyncConnection, rehearsal: str, part: str) -> None:
    """Give the lock back."""
    await connection.execute(f"SELECT pg_advisory_unlock({_LOCK})", {"id": rehearsal, "part": part})
