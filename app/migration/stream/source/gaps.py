"""Before a start: what the source lacks for a change stream, and whether changes may be missing since the last one."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing, suppress

from psycopg import AsyncConnection, sql
from sqlalchemy import Table

from app.errors import AccessDeniedError, MigrationError
from app.migration.preflight.findings import Finding, finding
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.stream.source.messages import Begin
from app.migration.stream.source.publication import Publication, changed_tables, other_files, other_identities
from app.migration.stream.source.slot import StreamSlot, lsn_text, parse_lsn, stream_name, target_identity
from app.migration.tables.copy_table import identifier_of, name_of
from app.migration.target.target_session import open_target
from app.next_step import Command, NextStep
from app.state import streams
from app.state.runs import row_versions

_TRIES = 40  # of a slot that another session is reading still, as one that was killed does for a moment
_BETWEEN_TRIES = 0.5  # seconds
_PATIENCE = 10.0  # seconds for a slot to be made, before it is told what it waits for


async def close_gap(
    connection: AsyncConnection,
    slot: StreamSlot,
    known: streams.Stream | None,
    *,
    source: str,
    server: str,
    publication: str,
    prints: Mapping[str, str],
    reshaped: Sequence[str],
    tell: Callable[[str], None],
    reverse: bool = False,
) -> str | None:
    """Why changes may be missing, in words; None: none is.

    Where they may be, the slot gives all changes from now on when this returns, and a sync by xmin is to follow.

    Args:
        known: the stream as the target knows it.
        source: its label.
        server: what tells the source's server and timeline from others.
        publication: its fingerprint.
        prints: of the tables to be followed.
        reshaped: those of whose rows the versions tell nothing any more, such as one whose target got a column.
        tell: called with a sentence where something takes long.
        reverse: the log is the target's, for the way back.
    """
    look = await slot.look()
    changed = changed_tables(known.tables, prints) if known else []
    anew, lsn, end = True, 0, "target" if reverse else "source"
    if known is None:
        why = "it is the first start"
    elif known.server != server:
        why = f"the {end} is another server, or has another timeline; run botdata verify when this is done"
        await row_versions.forget_all(connection)
    elif look is None or look.lost:
        why = f"the slot is {'gone' if look is None else f'lost ({look.lost})'}"
    elif changed:
        why = f"{', '.join(changed)} changed at the {end}"
        for table in changed:
            await row_versions.forget_all(connection, table)
    elif known.publication != publication:
        why = "the publication was altered"
    elif others := other_identities(known.tables, prints):
        why = f"the replica identity of {', '.join(others)} changed at the {end}"
    elif look.confirmed is not None and look.confirmed > parse_lsn(known.lsn):
        why, anew, lsn = "the slot is ahead of the target", False, look.confirmed
    elif look.confirmed is not None and not await _goes_on(slot, look.confirmed, known):
        why = f"the {end}'s log is not that of before"
    elif known.settled_lsn is None or not set(prints) <= set(known.tables):
        why, anew, lsn = "not all tables were brought up to date", False, parse_lsn(known.lsn)
    elif emptied := other_files(known.tables, prints):
        why, anew, lsn = f"partitions of {', '.join(emptied)} may have been emptied", False, parse_lsn(known.lsn)
    elif reshaped:
        why, anew, lsn = f"{', '.join(reshaped)} changed at one end", False, parse_lsn(known.lsn)
    else:
        return None
    if anew:
        await _drop(slot)
        lsn = await _created(slot, tell, end)
    await streams.begin_stream(
        connection,
        name=slot.name,
        source=source,
        server=server,
        publication=publication,
        tables=prints,
        lsn=lsn_text(lsn),
        reverse=reverse,
    )
    return why


async def _goes_on(slot: StreamSlot, confirmed: int, known: streams.Stream) -> bool:
    """Whether the source's log is the one that the target has applied a part of.

    After a crash of the source its slot gives again what was applied. So it does where the source was restored from a
    copy of its files, and has written another log since: then the last transaction that was applied is not in it.
    """
    lsn = parse_lsn(known.lsn)
    if confirmed >= lsn:
        return True
    if known.commit_lsn is None or parse_lsn(known.commit_lsn) < confirmed or await slot.flushed() < lsn:
        return False
    last = parse_lsn(known.commit_lsn)
    async with aclosing(slot.peek(upto=lsn, most=2**31 - 1)) as parts:
        async for part in parts:
            for message, _ in part:
                if isinstance(message, Begin) and message.commit_lsn == last:
                    return message.committed_at == known.committed_at
    return False


async def remove(connection: AsyncConnection, slot: StreamSlot, publication: Publication) -> None:
    """Leave nothing at the source that nobody reads."""
    await _drop(slot)
    with suppress(AccessDeniedError):  # where its owner is another: without a slot it costs nothing
        await publication.drop()
    await streams.forget_stream(connection, slot.name)


async def _drop(slot: StreamSlot) -> None:
    for _ in range(_TRIES):
        look = await slot.look()
        if look is None:
            return
        if not look.active:
            break
        await asyncio.sleep(_BETWEEN_TRIES)
    await slot.drop()


async def _created(slot: StreamSlot, tell: Callable[[str], None], end: str) -> int:
    creating = asyncio.ensure_future(slot.create())
    try:
        await asyncio.wait({creating}, timeout=_PATIENCE)
        if not creating.done():
            tell(f"the slot waits for the transactions that are open at the {end}")
        return await creating
    finally:
        creating.cancel()


_LOOK = """
SELECT current_setting('wal_level'), pg_is_in_recovery(),
    (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user),
    (SELECT count(*) FROM pg_replication_slots) < current_setting('max_replication_slots')::int
    OR EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = {slot}),
    current_setting('max_slot_wal_keep_size'), has_database_privilege(current_database(), 'CREATE')
    OR EXISTS (SELECT FROM pg_publication WHERE pubname = {slot}),
    quote_ident(current_user), quote_ident(current_database())
"""
_NOT_OWNED = """
SELECT name FROM unnest({names}::text[]) name JOIN pg_class c ON c.oid = to_regclass(name)
WHERE NOT pg_has_role(relowner, 'USAGE') AND NOT EXISTS (SELECT FROM pg_publication WHERE pubname = {publication})
"""


async def find_missing(
    source: PostgresSource, *, name: str = "", accept_unbounded: bool = False, end: str = "source"
) -> list[Finding]:
    """What the source lacks.

    Args:
        end: what it is to the move, in a word: on the way back the target is the source.
        name: of the stream, whose own slot and publication are not missing.
        accept_unbounded: the source may keep its log without a limit.
    """
    ((level, standby, may, free, limit, create, role, database),) = await source.fetch(
        sql.SQL(_LOOK).format(slot=sql.Literal(name))
    )
    needed = (
        (standby, f"{end}-stream-standby", f"the {end} is a standby", "give the primary's address"),
        (
            level != "logical",
            f"{end}-stream-wal-level",
            f"the {end}'s wal_level is {level}",
            f"ALTER SYSTEM SET wal_level = logical, and a restart of the {end}",
        ),
        (not may, f"{end}-stream-role", f"the role {role} may not replicate", f"ALTER ROLE {role} REPLICATION"),
        (
            not free,
            f"{end}-stream-slots",
            f"all of the {end}'s replication slots are taken",
            "ALTER SYSTEM SET max_replication_slots to more, and a restart; or drop one that nobody reads",
        ),
        (
            limit == "-1" and not accept_unbounded,
            f"{end}-stream-wal-unbounded",
            f"max_slot_wal_keep_size is -1: where the stream stands still, the {end}'s log grows until its disk is "
            "full",
            "ALTER SYSTEM SET max_slot_wal_keep_size = '20GB'; SELECT pg_reload_conf(); or --accept-unbounded-wal",
        ),
        (
            not create,
            f"{end}-stream-publication",
            f"the role {role} may not make a publication",
            f"GRANT CREATE ON DATABASE {database} TO {role}; and it has to own the tables, or their owner makes the "
            "publication",
        ),
    )
    return [Finding(code, "error", message, remedy) for is_missing, code, message, remedy in needed if is_missing]


async def examine_stream(source: PostgresSource, target_url: str, tables: Sequence[Table]) -> list[Finding]:
    """The same for a target and its tables: with those of which the role may not make a publication.

    Raises:
        MigrationError: the target cannot be reached.
        StoreError: the source cannot.
    """
    async with open_target(target_url, step="preflight") as connection:
        name = stream_name(await target_identity(connection))
        level = await (await connection.execute("SELECT current_setting('wal_level')")).fetchone()
    found = await find_missing(source, name=name)
    if level != ("logical",):
        found.append(
            finding(
                "target-stream-wal-level",
                "the target's wal_level is not logical, so that there is no stream back to the source (sync --reverse "
                "--by stream)",
                "ALTER SYSTEM SET wal_level = logical, and a restart of the target, before anything lives on it",
            )
        )
    quoted = {source.schemas.named(identifier_of(one).as_string(None)): name_of(one) for one in tables}
    rows = await source.fetch(
        sql.SQL(_NOT_OWNED).format(names=sql.Literal(list(quoted)), publication=sql.Literal(name))
    )
    if rows:
        listed = ", ".join(quoted[one] for (one,) in rows)
        found.append(
            finding(
                "source-stream-publication",
                f"the role does not own {listed}, and so cannot publish them",
                f"as their owner: CREATE PUBLICATION {name} FOR TABLE ... WITH (publish_via_partition_root = true), of "
                "which sync names all tables; or let the owner run the sync",
            )
        )
    return found


async def refuse_missing(
    source: PostgresSource, *, name: str = "", accept_unbounded: bool = False, end: str = "source"
) -> None:
    """Stop where something is missing; as `find_missing`.

    Raises:
        MigrationError: names all of it.
    """
    found = await find_missing(source, name=name, accept_unbounded=accept_unbounded, end=end)
    back = "--reverse " * (end == "target")
    if found:
        raise MigrationError(
            f"the {end} cannot give a change stream: {'; '.join(one.message for one in found)}",
            step="sync",
            pending="everything; nothing was written",
            next_step=NextStep(
                f"at the {end}: {'; '.join(one.remedy for one in found)}; then: ",
                Command("sync", f"{back}--follow --by stream"),
                "; or without a stream: ",
                Command("sync", f"{back}--follow"),
            ),
        )
