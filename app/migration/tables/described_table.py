"""What the target's catalog says of a table of the models: types, keys, triggers, rules, heirs and partitions."""

from dataclasses import asdict, replace

from psycopg import AsyncConnection, sql
from sqlalchemy import Table

from app.common.schemas import said, schemas_of
from app.errors import MigrationError
from app.migration.tables.column_shapes import PARTS, shapes
from app.migration.tables.copy_table import (
    CopyColumn,
    CopyTable,
    Heir,
    identifier_of,
    key_columns,
    key_trouble,
    label,
    name_of,
    named,
    read_unique_indexes,
    schema_of,
)
from app.migration.tables.put_aside import find_unvalidated, silence
from app.migration.tables.row_level_security import hides_rows, remedy
from app.next_step import Command, NextStep
from app.state.fetching import fetch_row, fetch_rows

_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, -1), a.attidentity = 'a', a.attgenerated <> ''
FROM pg_attribute a WHERE a.attrelid = to_regclass(%(name)s) AND a.attnum > 0 AND NOT a.attisdropped
"""
# pg_trigger.tgtype: bit 4 update (src/include/catalog/pg_trigger.h). One may be on a partition alone. A rule's ev_type:
# 2 update, 3 insert; a partition's rules are of no matter to what is written to its table.
_TABLE = """
SELECT EXISTS (SELECT FROM pg_trigger WHERE (tgrelid = c.oid OR tgrelid IN (SELECT relid FROM pg_partition_tree(c.oid)))
               AND NOT tgisinternal AND tgenabled = ANY (%(fire)s::"char"[]) AND tgtype & 16 = 16),
    c.relkind IN ('r', 'f'), c.relkind IN ('r', 'p'),
    EXISTS (SELECT FROM pg_rewrite WHERE ev_class = c.oid AND ev_type IN ('2', '3'))
FROM pg_class c WHERE c.oid = to_regclass(%(name)s)
"""


# Of a plain table: a partition inherits from its partitioned table in the same catalog.
_HEIRS = """
WITH RECURSIVE heir (oid, depth) AS (
    SELECT inhrelid, 1 FROM pg_inherits JOIN pg_class p ON p.oid = inhparent
    WHERE inhparent = to_regclass(%(name)s) AND p.relkind = 'r'
    UNION ALL SELECT i.inhrelid, h.depth + 1 FROM heir h JOIN pg_inherits i ON i.inhparent = h.oid
)
SELECT SAID, c.relname, NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid)
FROM heir h JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace
GROUP BY 1, 2, 3 ORDER BY max(h.depth) DESC, 1, 2
""".replace("SAID", said("n.nspname"))


_FAMILY = """
SELECT SAID, c.relname FROM (SELECT relid FROM pg_partition_tree(to_regclass(%(name)s)) UNION
    SELECT relid FROM pg_partition_ancestors(to_regclass(%(name)s))) f JOIN pg_class c ON c.oid = f.relid
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid <> to_regclass(%(name)s) ORDER BY 1, 2
""".replace("SAID", said("n.nspname"))


def is_plain(table: CopyTable) -> sql.Composed:
    """Whether a database has the table as a plain one: see `CopyTable.has_only`; no row where it has none.

    And whether it has rules there: see `has_rules`.
    """
    return sql.SQL(
        "SELECT relkind IN ('r', 'f'), EXISTS (SELECT FROM pg_rewrite WHERE ev_class = c.oid "
        "AND ev_type IN ('2', '3')) FROM pg_class c WHERE oid = to_regclass({})"
    ).format(sql.Literal(table.identifier.as_string(None)))


async def describe(
    connection: AsyncConnection,
    table: Table,
    *,
    step: str,
    reads: bool = False,
    back: bool = False,
    styled: bool = True,
) -> CopyTable:
    """Join what the model says with the types and triggers that the target has.

    What the target generates is not written, whatever the model says. What the model computes and the target does not
    is a column like any other.

    Args:
        reads: nothing is to be written, so that a key without a unique index will do.
        back: rows go to the source, which may have the same triggers, and where none is silent.
        styled: rows come from a session that may have other settings than ours, as those over REST do.

    Raises:
        MigrationError: the table or one of its columns is missing in the target, its rows cannot be loaded again by
            their key, or not all be seen.
    """
    schema, name = schema_of(table), name_of(table)
    qualified = named(connection, identifier_of(table))
    look = Command("preflight"), ", which names all that is missing; then: "

    def stopped(message: str, *before: str | Command) -> MigrationError:
        return MigrationError(
            message,
            step=step,
            table=name,
            pending=f"{name} and the tables after it",
            next_step=NextStep(*before, Command(step)),
        )

    rows = await fetch_rows(connection, _COLUMNS, {"name": qualified})
    if not rows:
        raise stopped(f"the target has no table {schemas_of(connection).named(schema)}.{table.name}", *look)
    types = {one: (type_name, always) for one, type_name, always, generated in rows if not generated}
    unique = await read_unique_indexes(connection, qualified)
    key = list(key_columns(table, unique))
    made = {one: type_name for one, type_name, _, generated in rows if generated}
    computed = {column.name for column in table.columns if column.computed is not None}
    others = [c.name for c in table.columns if c.name not in key and c.name not in made]
    names = key + [column for column in others if column in types or column not in computed]
    if made_keys := [column for column in key if column in made]:
        raise stopped(
            f"the target makes {', '.join(made_keys)} of {name} by itself, so that no row can be written with its key",
            f"ALTER TABLE {qualified} ALTER {made_keys[0]} DROP EXPRESSION in the target, then: ",
        )
    if missing := [column for column in names if column not in types]:
        raise stopped(f"the target's table {name} lacks {', '.join(missing)}", *look)
    silent = not (reads or back) and (await silence(connection, qualified)).holds
    unvalidated = [] if reads or back else await find_unvalidated(connection, qualified)
    asked = {"name": qualified, "fire": ["A", "R" if silent else "O"]}
    has_triggers, has_only, is_table, has_rules = await fetch_row(connection, _TABLE, asked)
    trouble = key_trouble(qualified, key, unique) if key and is_table and not reads else None
    if trouble is None and await hides_rows(connection, qualified):
        trouble = "row-level security applies to the role, and may hide rows", remedy(qualified)
    if trouble is not None:
        raise stopped(f"the target's table {name}: {trouble[0]}", f"{trouble[1]}; then: ")
    is_written = any(types[column][1] for column in names[len(key) :])
    parts = await fetch_rows(connection, sql.SQL(PARTS).format(table=sql.Literal(qualified)))
    shape = {one: of if styled else replace(of, styled=None) for one, of in shapes(parts).items()}

    def column(name: str, type_name: str) -> CopyColumn:
        return CopyColumn(name, type_name, bool(table.columns[name].info.get("phone")), **asdict(shape[name]))

    return CopyTable(
        schema=schema,
        relation_name=table.name,
        columns=tuple(column(one, types[one][0]) for one in names),
        key_size=len(key),
        always_identity=any(types[column][1] for column in names),
        replaces_rows=bool(key) and (has_triggers or has_rules or is_written),
        changed_at=table.info.get("changed_at"),
        keys_only=bool(table.info.get("keys_only")),
        has_only=has_only,
        heirs=tuple([Heir(*row) for row in await fetch_rows(connection, _HEIRS, {"name": qualified})]),
        made=tuple(column(c.name, made[c.name]) for c in table.columns if c.name in made),
        family=tuple([label(*row) for row in await fetch_rows(connection, _FAMILY, {"name": qualified})]),
        silent=silent,
        has_rules=has_rules,
        has_unvalidated=any(one.owned for one in unvalidated),
    )
