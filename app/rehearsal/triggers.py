"""Disables a project's own triggers in the rehearsal's database, so that none of them calls out."""

from psycopg import AsyncConnection, sql

# PostgreSQL's own triggers, which keep foreign keys and deferrable constraints, are internal, and stay.
_TABLES = """
SELECT n.nspname, c.relname, count(*) FILTER (WHERE tgparentid = 0) FROM pg_trigger t
JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT tgisinternal AND tgenabled <> 'D' AND relkind IN ('r', 'p', 'f') GROUP BY 1, 2 ORDER BY 1, 2
"""
_OF_EVENTS = "SELECT evtname FROM pg_event_trigger WHERE evtenabled <> 'D' ORDER BY 1"


async def disable_triggers(connection: AsyncConnection) -> int:
    """Disable the triggers of users on tables, and those on events; gives how many there were."""
    disabled = 0
    async with connection.transaction():
        for (name,) in await (await connection.execute(_OF_EVENTS)).fetchall():
            await connection.execute(sql.SQL("ALTER EVENT TRIGGER {} DISABLE").format(sql.Identifier(name)))
            disabled += 1
        for schema, table, count in await (await connection.execute(_TABLES)).fetchall():
            name = sql.Identifier(schema, table)
            await connection.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER USER").format(name))
            disabled += count
    return disabled
