"""The mark that a schema has moved to another server, and the triggers that hold its tables still.

The mark tells the bot's processes. The triggers refuse every other writer, too: the WhatsApp login, a sync, a person.
"""

from collections.abc import Sequence

from psycopg import AsyncConnection, sql

from app.common.schemas import schemas_of
from app.state.cutover.stage import STAMP
from app.state.fetching import fetch_column, fetch_value
from app.state.schema_name import SCHEMA
from app.state.tool_schema import may_read

TRIGGER = "botdata_moved_out"
# 25006, read_only_sql_transaction: to the data layer the store is unavailable, to a sync its target is.
_MAKE_FUNCTION = f"""
CREATE OR REPLACE FUNCTION {SCHEMA}.refuse_moved_out() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS
$$ BEGIN RAISE EXCEPTION USING ERRCODE = '25006', MESSAGE = 'the tables have moved to another server'; END $$
"""
# ALWAYS: a copy switches the others off.
_MAKE_TRIGGER = (
    "CREATE TRIGGER {trigger} BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table} FOR EACH STATEMENT "
    "EXECUTE FUNCTION {function}(); ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}"
)


async def mark_moved_out(connection: AsyncConnection, tables: Sequence[str]) -> None:
    """Hold the tables still, after the writes in flight: in the caller's transaction, with the stage's row locked."""
    await connection.execute(f"UPDATE {SCHEMA}.stage SET moved_out_at = clock_timestamp(), archive = NULL, {STAMP}")
    await connection.execute(_MAKE_FUNCTION)
    schemas = schemas_of(connection)
    for table in tables:
        await connection.execute(
            sql.SQL(_MAKE_TRIGGER).format(
                trigger=sql.Identifier(TRIGGER),
                table=sql.Identifier(schemas.data, table),
                function=sql.Identifier(schemas.tool, "refuse_moved_out"),
            )
        )


async def keep_archive(connection: AsyncConnection, checksum: str) -> None:
    """The archive is complete."""
    await connection.execute(f"UPDATE {SCHEMA}.stage SET archive = %(checksum)s", {"checksum": checksum})


async def archive_kept(connection: AsyncConnection) -> str | None:
    """The checksum of the archive that the schema moved out with; None: it is here, or the archive is not complete."""
    if not await may_read(connection, "stage"):
        return None
    # An older version's row has no such column.
    checksum: str | None = await fetch_value(connection, f"SELECT to_jsonb(s) ->> 'archive' FROM {SCHEMA}.stage s")
    return checksum


async def tables_not_held(connection: AsyncConnection) -> list[str]:
    """The tables of a schema that has moved out which did not go with it."""
    return await fetch_column(
        connection,
        "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relnamespace = to_regnamespace('<data schema>') "
        "AND c.relkind IN ('r', 'p', 'f') AND c.relname <> 'alembic_version' AND NOT EXISTS (SELECT FROM pg_trigger t "
        "WHERE t.tgrelid = c.oid AND t.tgname = %(trigger)s) ORDER BY 1",
        {"trigger": TRIGGER},
    )


async def unmark_moved_out(connection: AsyncConnection) -> None:
    """Let the tables be written to again."""
    await connection.execute(f"DROP FUNCTION IF EXISTS {SCHEMA}.refuse_moved_out() CASCADE")
    await connection.execute(f"UPDATE {SCHEMA}.stage SET moved_out_at = NULL, archive = NULL, {STAMP}")
