"""What a source must have for a change stream, and what it lacks."""

from collections.abc import Sequence

from psycopg import sql
from sqlalchemy import Table

from app.errors import MigrationError
from app.migration.preflight.findings import Finding, finding
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.stream.source.slot import stream_name, target_identity
from app.migration.tables.copy_table import identifier_of, name_of
from app.migration.target.target_session import open_target
from app.next_step import Command, NextStep
from app.state.fetching import fetch_value

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
        level = await fetch_value(connection, "SELECT current_setting('wal_level')")
    found = await find_missing(source, name=name)
    if level != "logical":
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
