"""Changes that no row's version shows: a column added with a default or to the models, an enum's new label, a restore.

PostgreSQL makes columns and labels in its catalog and writes no row. A restore writes rows of old by transactions whose
numbers may have been another's before. So a sync keeps what the catalogs of both ends say of a table and of its server,
and compares all of its rows again where that is another thing than before.
"""

from collections.abc import Sequence
from hashlib import sha256

from psycopg import AsyncConnection, sql

from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.source import Progress, Source
from app.migration.tables.copy_table import CopyTable
from app.state.fetching import Fetch, fetching
from app.state.runs import checkpoints, row_versions

# Enums, domains and composite types are taken as a whole, whichever of them a table uses; the row types of tables are
# where some column is of one.
TYPES = """
    (SELECT string_agg(concat_ws(' ', enumtypid, enumsortorder, enumlabel), ',' ORDER BY oid) FROM pg_enum),
    (SELECT string_agg(concat_ws(' ', oid, typbasetype, typtypmod), ',' ORDER BY oid) FROM pg_type WHERE typtype = 'd'),
    (SELECT string_agg(concat_ws(' ', attrelid, attnum, atttypid, atttypmod), ',' ORDER BY attrelid, attnum)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND (c.relkind = 'c' OR c.reltype <> 0
            AND c.oid >= 16384 AND EXISTS (SELECT FROM pg_type t JOIN pg_depend d ON d.refclassid = 'pg_type'::regclass
                AND d.refobjid IN (t.oid, t.typarray) AND d.classid IN ('pg_class'::regclass, 'pg_type'::regclass)
                AND d.deptype = 'n' WHERE t.oid = c.reltype)) WHERE attnum > 0 AND NOT attisdropped)
"""
# A partition that was attached after it was made may hold rows of a transaction by which another one's were known. What
# a virtual column is made of is in the catalog alone. A server that was restored to an earlier moment has another
# timeline; just after that the second of the two numbers tells.
_SHAPES = """
WITH all_types AS (SELECT concat_ws('|', {types}) AS said)
SELECT number, md5(concat_ws('|', relation, {server},
    (SELECT concat_ws(' ', oid, xmin) FROM pg_database WHERE datname = current_database()),
    (SELECT string_agg(concat_ws(' ', attnum, attname, atttypid, atttypmod, attmissingval::text,
            CASE WHEN attgenerated = 'v' THEN pg_get_expr(adbin, adrelid) END), ',' ORDER BY attnum)
        FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped), all_types.said,
    (SELECT string_agg(concat_ws(' ', relid, i.xmin), ',' ORDER BY relid)
        FROM pg_partition_tree(relation) JOIN pg_inherits i ON inhrelid = relid
        JOIN pg_attribute a ON attrelid = relid AND attname = 'tableoid' AND a.xmin <> i.xmin)))
FROM all_types, (SELECT n, to_regclass(name)::oid FROM unnest({tables}::text[]) WITH ORDINALITY u (name, n))
    t (number, relation) ORDER BY 1
"""
_SERVER = """
(SELECT concat_ws(' ', system_identifier, greatest(timeline_id, min_recovery_end_timeline))
    FROM pg_control_system(), pg_control_checkpoint(), pg_control_recovery())
"""
_MAY_ASK = """
SELECT bool_and(has_function_privilege(name || '()', 'EXECUTE'))
FROM unnest(ARRAY['pg_control_system', 'pg_control_checkpoint', 'pg_control_recovery']) name
"""


async def values_stand(connection: AsyncConnection, source: Source, table: CopyTable, *, dry_run: bool) -> bool:
    """Whether row versions tell which values of a table have changed since the last look: see `standing_tables`."""
    return table.name in await standing_tables(connection, source, [table], dry_run=dry_run)


async def standing_tables(
    connection: AsyncConnection, source: Source, tables: Sequence[CopyTable], *, dry_run: bool
) -> set[str]:
    """Names of the tables whose rows' versions tell which values have changed since the last look.

    The others' pairs are forgotten. They tell nothing of a column that the models have got since, or under another key.
    Over REST only the target's catalog is seen. A dry run forgets nothing.
    """
    ours = await _shapes(fetching(connection), tables)
    theirs = await _shapes(source.fetch, tables) if isinstance(source, PostgresSource) else [""] * len(tables)
    now = {
        table.name: (there, f"{here} {_compared(table)}")
        for table, there, here in zip(tables, theirs, ours, strict=True)
    }
    known = await row_versions.known_shapes(connection)
    changed = {name: shape for name, shape in now.items() if known.get(name) != shape}
    if changed and not dry_run:
        await row_versions.keep_shapes(connection, changed)
    return now.keys() - changed.keys()


async def read_changed_anew(
    connection: AsyncConnection, source: Source, run: int, tables: Sequence[CopyTable], progress: Progress
) -> None:
    """Have a copy read tables from their beginning that are others by now than when an earlier start came to them."""
    standing = await standing_tables(connection, source, tables, dry_run=False)
    for name in (table.name for table in tables if table.name not in standing):
        if await checkpoints.find_checkpoint(connection, run, name) is not None:
            progress.notice(
                f"{name} is read anew: its columns, or what they are made of, have changed since it was begun"
            )
            await checkpoints.forget_table(connection, run, name)


def _compared(table: CopyTable) -> str:
    """A hash of the key's names, and of all columns'."""
    names = table.with_made.names
    return sha256(repr([names[: table.key_size], sorted(names)]).encode()).hexdigest()


async def _shapes(fetch: Fetch, tables: Sequence[CopyTable]) -> list[str]:
    ((may_ask,),) = await fetch(sql.SQL(_MAY_ASK).format())
    server, types = sql.SQL(_SERVER if may_ask else "NULL"), sql.SQL(TYPES)
    names = sql.Literal([table.identifier.as_string(None) for table in tables])
    return [shape for _, shape in await fetch(sql.SQL(_SHAPES).format(tables=names, server=server, types=types))]
