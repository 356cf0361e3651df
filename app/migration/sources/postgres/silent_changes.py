"""Changes of values that no row's version shows: a column added with a default, a label of an enum renamed, a restore.

PostgreSQL makes the first two in its catalog and writes no row. A restore writes rows of old by transactions whose
numbers may have been another's before. So a sync keeps what the catalogs of both ends say of a table and of its server,
and compares all of its rows again where that is another thing than before.
"""

from psycopg import AsyncConnection, sql

from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.source import Source
from app.migration.tables.copy_table import CopyTable
from app.state.fetching import Fetch, fetching
from app.state.runs import shapes

# Enums, domains and composite types are taken as a whole, whichever of them the table uses.
_SHAPE = """
SELECT md5(concat_ws('|', to_regclass({table})::oid, {server},
    (SELECT concat_ws(' ', oid, xmin) FROM pg_database WHERE datname = current_database()),
    (SELECT string_agg(concat_ws(' ', attnum, attname, atttypid, atttypmod, attmissingval::text), ',' ORDER BY attnum)
        FROM pg_attribute WHERE attrelid = to_regclass({table}) AND attnum > 0 AND NOT attisdropped),
    (SELECT string_agg(concat_ws(' ', enumtypid, enumsortorder, enumlabel), ',' ORDER BY oid) FROM pg_enum),
    (SELECT string_agg(concat_ws(' ', oid, typbasetype, typtypmod), ',' ORDER BY oid) FROM pg_type WHERE typtype = 'd'),
    (SELECT string_agg(concat_ws(' ', attrelid, attnum, atttypid, atttypmod), ',' ORDER BY attrelid, attnum)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind = 'c' WHERE NOT attisdropped)))
"""


async def values_stand(connection: AsyncConnection, source: Source, table: CopyTable, *, dry_run: bool) -> bool:
    """Whether row versions tell which values have changed since the last look; where not, the pairs are forgotten.

    Over REST only the target's catalog is seen. A dry run forgets nothing.
    """
    ours = await _shape(fetching(connection), table)
    theirs = await _shape(source.fetch, table) if isinstance(source, PostgresSource) else ""
    if await shapes.are_known(connection, table.name, theirs, ours):
        return True
    if not dry_run:
        await shapes.keep(connection, table.name, theirs, ours)
    return False


async def _shape(fetch: Fetch, table: CopyTable) -> str:
    ((may_ask,),) = await fetch(sql.SQL("SELECT has_function_privilege('pg_control_system()', 'EXECUTE')").format())
    server = sql.SQL("(SELECT system_identifier FROM pg_control_system())" if may_ask else "NULL")
    name = sql.Literal(table.identifier.as_string(None))
    ((shape,),) = await fetch(sql.SQL(_SHAPE).format(table=name, server=server))
    return str(shape)
