"""Values that a column would shorten or round to make them fit are refused, as any other value that does not fit."""

from psycopg import AsyncConnection

from app.migration.tables.copy_table import CopyTable

# 22001: string_data_right_truncation. It takes and gives the type of the value in whose place it is called.
_REFUSAL = """
DO $do$ BEGIN IF to_regproc('pg_temp.botdata_refused') IS NULL THEN
    CREATE FUNCTION pg_temp.botdata_refused(name text, type text, plain anyelement) RETURNS anyelement
    LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION USING ERRCODE = '22001', COLUMN = name,
            MESSAGE = format('a value of %s would be shortened or rounded to fit %s', name, type);
    END $$;
END IF; END $do$
"""


async def ensure_refusal(connection: AsyncConnection, table: CopyTable) -> None:
    """Make the function by which the statements that load a table refuse such values, in this session.

    Raises:
        psycopg.Error: the role may make nothing temporary.
    """
    if any(column.exact is not None for column in table.columns):
        await connection.execute(_REFUSAL)
