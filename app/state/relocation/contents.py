"""What of the tool's tables goes with a salon, and what both schemas hold beside."""

from dataclasses import dataclass

from psycopg import AsyncConnection

from app.common.schemas import DATA, TOOL
from app.state.cutover.stage import STAMP
from app.state.fetching import fetch_column, fetch_row
from app.state.schema_name import SCHEMA

# In this order: a table after those that it refers to.
TAKEN = (
    "runs", "checkpoints", "snapshots", "quarantine", "replaced_rows", "stage", "moves", "table_authority",
    "last_left_note", "outbox", "verifications", "synced_tables", "comparisons", "differences", "accepted_differences",
    "inventory", "ticks", "digest_key", "digests",
)  # fmt: skip
# Of no use on another server: xids and what goes by them, sessions and processes of this one, and what is told of it.
LEFT = (
    "version", "writes", "ranges", "foreign_keys", "row_versions", "processes", "notes", "shapes", "notifications",
    "conditions", "rehearsals", "sync_progress", "pauses", "paces", "streams",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class OutboxToMove:
    """Entries of the outbox: all, and those that were sent, or may be, and are not settled."""

    entries: int
    unsettled: int


async def outbox_to_move(connection: AsyncConnection, *, managed: bool) -> OutboxToMove:
    """What a move would take along.

    Args:
        managed: a command has moved the stage; until then an entry is noted as unsure although nobody sends it.
    """
    unsettled = "attempts > 0 OR (unsure AND %(managed)s)"
    row = await fetch_row(
        connection,
        f"SELECT count(*), count(*) FILTER (WHERE {unsettled}) FROM {SCHEMA}.outbox",
        {"managed": managed},
    )
    return OutboxToMove(*row)


async def settle_in(connection: AsyncConnection) -> None:
    """Make state that came from another server this one's: its LSNs and timelines mean nothing here."""
    await connection.execute(f"UPDATE {SCHEMA}.stage SET moved_out_at = NULL, archive = NULL, {STAMP}")
    await connection.execute(f"UPDATE {SCHEMA}.verifications SET timeline = NULL")
    await connection.execute(f"UPDATE {SCHEMA}.synced_tables SET timeline = NULL")
    await connection.execute(
        f"UPDATE {SCHEMA}.runs SET state = 'abandoned', finished_at = now() WHERE state = 'running'"
    )


async def relations_in_the_way(connection: AsyncConnection) -> list[str]:
    """What the two schemas hold already, so that nothing can move in."""
    return await fetch_column(
        connection,
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        f"WHERE n.nspname IN ('{DATA}', '{TOOL}') AND c.relkind NOT IN ('i', 'I', 't') ORDER BY 1",
    )


# The things of both schemas, and what outside of them stands on one: views, foreign keys, defaults, functions.
_DEPENDENTS = f"""
WITH mine AS (SELECT oid FROM pg_namespace WHERE nspname IN ('{DATA}', '{TOOL}')), item (classid, objid) AS (
    SELECT 'pg_class'::regclass, oid FROM pg_class WHERE relnamespace IN (SELECT oid FROM mine)
    UNION ALL SELECT 'pg_type'::regclass, oid FROM pg_type WHERE typnamespace IN (SELECT oid FROM mine)
    UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE pronamespace IN (SELECT oid FROM mine)
)
SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid) FROM pg_depend d
JOIN item ON d.refclassid = item.classid AND d.refobjid = item.objid
WHERE d.deptype = 'n' AND coalesce(CASE d.classid
    WHEN 'pg_class'::regclass THEN (SELECT relnamespace FROM pg_class WHERE oid = d.objid)
    WHEN 'pg_type'::regclass THEN (SELECT typnamespace FROM pg_type WHERE oid = d.objid)
    WHEN 'pg_proc'::regclass THEN (SELECT pronamespace FROM pg_proc WHERE oid = d.objid)
    WHEN 'pg_constraint'::regclass THEN (SELECT connamespace FROM pg_constraint WHERE oid = d.objid)
    WHEN 'pg_rewrite'::regclass THEN (SELECT relnamespace FROM pg_rewrite u JOIN pg_class c ON c.oid = u.ev_class
        WHERE u.oid = d.objid)
    WHEN 'pg_attrdef'::regclass THEN (SELECT relnamespace FROM pg_attrdef a JOIN pg_class c ON c.oid = a.adrelid
        WHERE a.oid = d.objid)
    WHEN 'pg_trigger'::regclass THEN (SELECT relnamespace FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        WHERE t.oid = d.objid)
    WHEN 'pg_policy'::regclass THEN (SELECT relnamespace FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
        WHERE p.oid = d.objid)
    END, 0) NOT IN (SELECT oid FROM mine)
ORDER BY 1
"""


async def dependents(connection: AsyncConnection) -> list[str]:
    """What stands on the two schemas from outside, in PostgreSQL's words."""
    return await fetch_column(connection, _DEPENDENTS)


async def drop_both(connection: AsyncConnection) -> None:
    """Drop the schema of the tables and the tool's own, with all that is in them, in the caller's transaction."""
    await connection.execute(f"DROP SCHEMA IF EXISTS {TOOL} CASCADE; DROP SCHEMA {DATA} CASCADE")
