"""What the engine knows of a table: taken from the MetaData, and the types from the target's catalog."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from psycopg import AsyncConnection, sql
from sqlalchemy import ForeignKeyConstraint, MetaData, Table
from sqlalchemy.exc import NoReferencedTableError
from sqlalchemy.schema import sort_tables_and_constraints

from app.common.schemas import DATA, said, schemas_of
from app.errors import MigrationError
from app.migration.tables import row_security
from app.migration.tables.column_shapes import PARTS, shapes
from app.migration.tables.quoting import identifier_of, named, schema_of
from app.migration.tables.silence import silence
from app.migration.tables.unique_keys import key_columns, key_trouble, read_unique_indexes
from app.migration.tables.unvalidated_checks import find_unvalidated
from app.next_step import Command, NextStep


@dataclass(frozen=True, slots=True)
class CopyColumn:
    """A column of the target.

    Attributes:
        type: without a length or scale (`character varying`).
        phone: whether its values are phones.
        written, parts, exact, opaque, listable: see `column_shapes.Shape`.
        styled: the same; None where the source's session has the settings of the target's.
    """

    name: str
    type: str
    phone: bool
    written: str = ""
    parts: frozenset[str] = frozenset()
    exact: str | None = None
    styled: str | None = None
    opaque: bool = False
    listable: bool = True

    @property
    def zoned(self) -> bool:
        """Whether the text of a value depends on the time zone of the session that wrote it."""
        return "timestamptz" in self.parts

    @property
    def holds_xml(self) -> bool:
        """Whether values hold xml, whose declaration only a cast to text keeps."""
        return "xml" in self.parts


class Heir(NamedTuple):
    """A table that inherits from another; `last`: none inherits from it."""

    schema: str
    name: str
    last: bool


@dataclass(frozen=True, slots=True)
class CopyTable:
    """A table as the engine moves it.

    Attributes:
        schema, relation_name: where the table is, on both ends, as statements say it: see app.common.schemas.
        has_only: the target's table is a plain one. Read with ONLY, it does not show the rows of tables that inherit
            from it, which are tables of their own; a partitioned table has no other rows than its partitions'.
        heirs: the tables that inherit from it, each after its own heirs.
        columns: begin with the key's, in its order.
        key_size: 0 where nothing tells its rows apart: then the table is moved as a whole, see `app.migration.whole`.
        replaces_rows: a changed row is deleted and inserted, since an update would be changed by a trigger, or is
            refused for an identity column or for a rule.
        keys_only: nothing but keys of it is kept outside of it or shown, such as of Supabase's users: see `kept`.
        has_unvalidated: checks of it, which the role may take away, are NOT VALID: see `unvalidated_checks`.
        has_rules: it has rules on inserts or updates. PostgreSQL refuses ON CONFLICT there, whether they fire or not.
        changed_at: the column that says when a row last changed, where the table has one.
        version: the column that tells one version of a row from another.
        made: columns that the target makes by itself: compared, not written.
        family: names of its partitions, and of the tables that it is a partition of: their rows are its own, too.
        silent: triggers and rules of the target are silent while its rows are written: see `silence`.
    """

    schema: str
    relation_name: str
    columns: tuple[CopyColumn, ...]
    key_size: int
    always_identity: bool
    replaces_rows: bool
    changed_at: str | None = None
    version: str = "xmin"
    has_only: bool = False
    heirs: tuple[Heir, ...] = ()
    made: tuple[CopyColumn, ...] = ()
    family: tuple[str, ...] = ()
    silent: bool = False
    has_rules: bool = False
    has_unvalidated: bool = False
    keys_only: bool = False

    @property
    def name(self) -> str:
        """The table's name in messages, options and the tool's own tables: see `label`."""
        return label(self.schema, self.relation_name)

    @property
    def all_names(self) -> list[str]:
        """The names by which its rows may have been written before."""
        return [self.name, *self.family]

    @property
    def key(self) -> tuple[CopyColumn, ...]:
        """The columns by which rows are told apart: see `app.migration.tables.unique_keys`."""
        return self.columns[: self.key_size]

    @property
    def names(self) -> list[str]:
        """Names of all columns, the key's first."""
        return [column.name for column in self.columns]

    @property
    def kept(self) -> list[str]:
        """Names of the columns whose values may go into quarantine and into before-images."""
        return [column.name for column in (self.key if self.keys_only else self.columns)]

    @property
    def identifier(self) -> sql.Identifier:
        """The table's quoted name with its schema."""
        return sql.Identifier(self.schema, self.relation_name)

    @property
    def rows(self) -> sql.Composed:
        """What stands after FROM for the rows of the target's table itself."""
        return sql.SQL("ONLY {}" if self.has_only else "{}").format(self.identifier)

    @property
    def with_made(self) -> CopyTable:
        """The table as it is read and compared: with the columns that one side makes by itself."""
        return replace(self, columns=self.columns + self.made, made=())

    @property
    def key_holds_phone(self) -> bool:
        """Whether the key gives a phone number away."""
        return any(column.phone for column in self.key)


def label(schema: str | None, name: str) -> str:
    """A table's name as people give and read it: with its schema, unless that is the one of DATABASE_SCHEMA."""
    return name if schema in {None, DATA, "public"} else f"{schema}.{name}"


def name_of(table: Table) -> str:
    """The same of a model's table."""
    return label(table.schema, table.name)


def select_tables(
    metadata: MetaData, *, names: Sequence[str] | None = None, groups: Iterable[str] | None = None
) -> list[Table]:
    """Tables to move, parents before children: those named, else those of the groups, else all.

    Raises:
        MigrationError: a name that is not a table's, and which names are; two tables of one name; no table at all, or
            none of the groups; a column that the models know by another name than its own.
    """
    tables = _in_order(metadata)
    if not tables:
        raise MigrationError(
            "the models hold no table",
            step="choose tables",
            pending="everything; nothing was read or written",
            next_step=NextStep("the same command, with a --metadata whose models are imported when its module is"),
        )
    other = next((one for table in tables for one in table.columns if one.key != one.name), None)
    if other is not None:
        raise MigrationError(
            f"the models know {name_of(other.table)}.{other.name} by another key, {other.key}; columns go by name here",
            step="choose tables",
            pending="everything; nothing was read or written",
            next_step=NextStep("take the column's key= out of the models, then: the same command"),
        )
    by_name = {name_of(table): table for table in tables}
    if len(by_name) < len(tables):
        twice = sorted(name for name in by_name if sum(name_of(table) == name for table in tables) > 1)
        raise MigrationError(
            f"the models hold tables of one name twice: {', '.join(twice)}",
            step="choose tables",
            pending="everything; nothing was read or written",
            next_step=NextStep("the same command, with a --metadata that holds each once"),
        )
    if names is not None:
        if not names:
            raise _not_chosen("no table is named", by_name)
        chosen = {name: find_table(name, by_name) for name in names}
        if unknown := sorted(name for name, found in chosen.items() if found is None):
            raise _not_chosen(f"no such table: {', '.join(unknown)}", by_name)
        return [table for table in tables if table in chosen.values()]
    wanted = None if groups is None else set(groups)
    of_groups = [table for table in tables if wanted is None or table.info.get("group") in wanted]
    if not of_groups:
        raise _not_chosen(f"no table is of the group {', '.join(sorted(wanted or ()))}", by_name)
    return of_groups


def find_table(name: str, by_name: Mapping[str, Table]) -> Table | None:
    """The table that a name is given for; without its schema too, where only one schema has a table of that name."""
    if name in by_name:
        return by_name[name]
    without_schema = [table for table in by_name.values() if table.name == name]
    return without_schema[0] if len(without_schema) == 1 else None


def _not_chosen(message: str, known: Iterable[str]) -> MigrationError:
    return MigrationError(
        f"{message}; the tables are {', '.join(sorted(known))}",
        step="choose tables",
        pending="everything; nothing was read or written",
        next_step=NextStep("the same command, with --tables of these"),
    )


def _in_order(metadata: MetaData) -> list[Table]:
    """All tables, parents before children; within a cycle of foreign keys in any order that does not change."""
    by_name = sorted(metadata.tables.values(), key=lambda table: table.key)
    ordered = sort_tables_and_constraints(by_name, filter_fn=_leads_nowhere)  # type: ignore[no-untyped-call]
    return [table for table, _ in ordered if table is not None]


def _leads_nowhere(constraint: ForeignKeyConstraint) -> bool | None:
    """Whether a foreign key names a table that is not among the models, such as auth.users: it orders nothing then."""
    try:
        constraint.referred_table  # noqa: B018 - it is looked up here
    except NoReferencedTableError:
        return True
    return None


_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, -1), a.attidentity = 'a', a.attgenerated <> ''
FROM pg_attribute a WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
"""
# pg_trigger.tgtype: bit 4 update (src/include/catalog/pg_trigger.h). One may be on a partition alone. A rule's ev_type:
# 2 update, 3 insert; a partition's rules are of no matter to what is written to its table.
_TABLE = """
SELECT EXISTS (SELECT FROM pg_trigger WHERE (tgrelid = c.oid OR tgrelid IN (SELECT relid FROM pg_partition_tree(c.oid)))
               AND NOT tgisinternal AND tgenabled = ANY (%(fire)s::"char"[]) AND tgtype & 16 = 16),
    c.relkind IN ('r', 'f'), c.relkind IN ('r', 'p'),
    EXISTS (SELECT FROM pg_rewrite WHERE ev_class = c.oid AND ev_type IN ('2', '3'))
FROM pg_class c WHERE c.oid = to_regclass(%(table)s)
"""


# Of a plain table: a partition inherits from its partitioned table in the same catalog.
_HEIRS = """
WITH RECURSIVE heir (oid, depth) AS (
    SELECT inhrelid, 1 FROM pg_inherits JOIN pg_class p ON p.oid = inhparent
    WHERE inhparent = to_regclass(%s) AND p.relkind = 'r'
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
    rows = await (await connection.execute(_COLUMNS, [qualified])).fetchall()
    if not rows:
        raise MigrationError(
            f"the target has no table {schemas_of(connection).named(schema)}.{table.name}",
            step=step,
            table=name,
            pending=f"{name} and the tables after it",
            next_step=NextStep(Command("preflight"), ", which names all that is missing; then: ", Command(step)),
        )
    types = {one: (type_name, always) for one, type_name, always, generated in rows if not generated}
    unique = await read_unique_indexes(connection, qualified)
    key = list(key_columns(table, unique))
    made = {one: type_name for one, type_name, _, generated in rows if generated}
    computed = {column.name for column in table.columns if column.computed is not None}
    others = [c.name for c in table.columns if c.name not in key and c.name not in made]
    names = key + [column for column in others if column in types or column not in computed]
    if made_keys := [column for column in key if column in made]:
        raise MigrationError(
            f"the target makes {', '.join(made_keys)} of {name} by itself, so that no row can be written with its key",
            step=step,
            table=name,
            pending=f"{name} and the tables after it",
            next_step=NextStep(
                f"ALTER TABLE {qualified} ALTER {made_keys[0]} DROP EXPRESSION in the target, then: ", Command(step)
            ),
        )
    if missing := [column for column in names if column not in types]:
        raise MigrationError(
            f"the target's table {name} lacks {', '.join(missing)}",
            step=step,
            table=name,
            pending=f"{name} and the tables after it",
            next_step=NextStep(Command("preflight"), ", which names all that is missing; then: ", Command(step)),
        )
    silent = not (reads or back) and (await silence(connection, qualified)).holds
    unvalidated = [] if reads or back else await find_unvalidated(connection, qualified)
    fire = ["A", "R" if silent else "O"]
    found = await (await connection.execute(_TABLE, {"table": qualified, "fire": fire})).fetchone()
    assert found is not None
    trouble = key_trouble(qualified, key, unique) if key and found[2] and not reads else None
    if trouble is None and await row_security.hides_rows(connection, qualified):
        trouble = "row-level security applies to the role, and may hide rows", row_security.remedy(qualified)
    if trouble is not None:
        raise MigrationError(
            f"the target's table {name}: {trouble[0]}",
            step=step,
            table=name,
            pending=f"{name} and the tables after it",
            next_step=NextStep(f"{trouble[1]}; then: ", Command(step)),
        )
    is_written = any(types[column][1] for column in names[len(key) :])
    replaces_rows = bool(key) and bool(found[0] or found[3] or is_written)
    parts = await (await connection.execute(sql.SQL(PARTS).format(table=sql.Literal(qualified)))).fetchall()
    shape = shapes(parts)

    def column(name: str, type_name: str) -> CopyColumn:
        return CopyColumn(
            name,
            type_name,
            bool(table.columns[name].info.get("phone")),
            shape[name].written,
            shape[name].parts,
            shape[name].exact,
            shape[name].styled if styled else None,
            shape[name].opaque,
            shape[name].listable,
        )

    family = await (await connection.execute(_FAMILY, {"name": qualified})).fetchall()
    return CopyTable(
        schema=schema,
        relation_name=table.name,
        columns=tuple(column(one, types[one][0]) for one in names),
        key_size=len(key),
        always_identity=any(types[column][1] for column in names),
        replaces_rows=replaces_rows,
        changed_at=table.info.get("changed_at"),
        keys_only=bool(table.info.get("keys_only")),
        has_only=found[1],
        heirs=tuple([Heir(*row) for row in await (await connection.execute(_HEIRS, [qualified])).fetchall()]),
        made=tuple(column(c.name, made[c.name]) for c in table.columns if c.name in made),
        family=tuple(label(*row) for row in family),
        silent=silent,
        has_rules=found[3],
        has_unvalidated=any(one.owned for one in unvalidated),
    )
