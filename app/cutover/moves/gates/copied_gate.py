"""Gate: what Supabase holds is in PostgreSQL, and has been since every process mirrors what it writes."""

from datetime import datetime

from psycopg import AsyncConnection

from app.cutover.moves.gates.objection import Objection
from app.cutover.stages import Store
from app.cutover.tables import BUSINESS_TABLES, METHODS_TABLES, READ_TABLES
from app.state.cutover import backlog
from app.state.cutover.processes import SILENT_AFTER, read_processes
from app.state.cutover.proofs import mirrored_since, never_copied, refused_rows, table_proofs
from app.state.cutover.table_authority import read_authorities
from app.state.runs.foreign_keys import away
from app.state.streams import read_looks

_STANDS_AFTER = 30.0  # seconds without a look, where one takes about two
_FOLLOW = (
    "botdata stream status, which says what holds it up; where nobody follows it: botdata sync --follow --by stream, "
    "or botdata stream drop"
)


async def quarantine(connection: AsyncConnection) -> list[Objection]:
    """Rows that PostgreSQL refused."""
    return [
        Objection(f"{table}: {count:,} rows in quarantine", f"botdata quarantine list --tables {table}")
        for table, count in await refused_rows(connection)
    ]


async def copied(connection: AsyncConnection) -> list[Objection]:
    """Tables that were never brought over whole."""
    names = await never_copied(connection, BUSINESS_TABLES)
    if not names:
        return []
    return [Objection(f"never copied whole: {', '.join(names)}", f"botdata copy --tables {','.join(names)}")]


async def foreign_keys(connection: AsyncConnection, authority: Store) -> list[Objection]:
    """Foreign keys that are marked valid, and that no run has proved since it wrote rows which were not checked."""
    names = [f"{one.name} of {one.of_table}" for one in await away(connection) if one.state == "unproved"]
    if not names:
        return []
    command = "botdata sync" if authority is Store.SUPABASE else "botdata sync --reverse"
    return [Objection(f"foreign keys that are not proved: {', '.join(names)}", f"{command}, which proves them")]


async def notes(connection: AsyncConnection) -> list[Objection]:
    """Writes to Supabase whose mirrors did not come."""
    found = [
        Objection(
            f"{left.table}: {left.count:,} notes of writes that PostgreSQL may not have{left.error_told}",
            "botdata sync, which repairs them, a minute after the last one where their outcome is unknown",
        )
        for left in await backlog.left_notes(connection, SILENT_AFTER)
    ]
    found += [
        Objection(
            f"process {process.name} keeps {process.spooled:,} notes in its spool file, since it could not reach "
            "PostgreSQL",
            "it brings them in by itself when it can; then: botdata sync",
        )
        for process in await read_processes(connection)
        if process.spooled
    ]
    return found


async def proven(connection: AsyncConnection) -> list[Objection]:
    """Tables without a sync and a clean verify that both began after the last write that was not mirrored."""
    since = await mirrored_since(connection)
    proofs = sorted(await table_proofs(connection, BUSINESS_TABLES))
    unsynced: list[str] = []
    unverified: list[str] = []
    older: list[str] = []
    found: list[Objection] = []
    for name, sync_began, changed_at, verify_began, differences in proofs:
        if not _after(sync_began, since):
            unsynced.append(name)
        if verify_began is not None and differences:
            found.append(
                Objection(
                    f"{name}: the last verify found {differences:,} differences",
                    f"botdata sync --tables {name}, then: botdata verify --tables {name}",
                )
            )
        elif not _after(verify_began, since):
            unverified.append(name)
        elif _after(changed_at, verify_began):
            older.append(name)
    moment = f"{since:%Y-%m-%d %H:%M:%S} UTC" if since else "the move to dualwrite"
    for names, what, command in (
        (unsynced, f"not synced since {moment}, when the last write was made that may not be mirrored", "sync"),
        (unverified, f"not verified since {moment}, when the last write was made that may not be mirrored", "verify"),
        (older, "the last verify is older than the last sync", "verify"),
    ):
        if names:
            found.append(Objection(f"{', '.join(names)}: {what}", f"botdata {command} --tables {','.join(names)}"))
    return found


async def streams(connection: AsyncConnection) -> list[Objection]:
    """Change streams of the bot's tables that nobody follows, or that have not caught up for a while."""
    return [
        Objection(look.told(), _FOLLOW, of_stream=True)
        for look in await read_looks(connection, METHODS_TABLES)
        if look.age is None or look.age > _STANDS_AFTER
    ]


async def not_past(connection: AsyncConnection, moment: datetime) -> list[Objection]:
    """Change streams of the bot's tables that are not past what the source's log held at a moment."""
    return [
        Objection(f"{look.told()}, and not of when the last write had ended", _FOLLOW)
        for look in await read_looks(connection, METHODS_TABLES)
        if not _after(look.looked_at, moment)
    ]


async def left_behind(connection: AsyncConnection) -> list[Objection]:
    """Tables that Supabase would answer from, though their writer writes PostgreSQL; the others are not read."""
    return [
        Objection(
            f"{name}: its authority is PostgreSQL; Supabase would answer without what its writer has written there",
            f"botdata sync --reverse --tables {name}; then move its writer, and: botdata cutover table {name} supabase",
        )
        for name, authority in (await read_authorities(connection, sorted(READ_TABLES))).items()
        if authority is Store.POSTGRES
    ]


def _after(moment: datetime | None, since: datetime | None) -> bool:
    return moment is not None and (since is None or moment > since)
