"""Sequences of a database: which the tables use, how far they are, and setting them further on. None is ever set back.

Further means in a sequence's own direction: a descending one goes down.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import AsyncConnection, sql

from app.common.schemas import DATA, Schemas, said
from app.migration.tables.copy_table import CopyTable, label, quoted
from app.state.fetching import Fetch, fetch_value, fetching
from app.state.runs import quarantine
from app.state.schema_name import SCHEMA

# A row for each column that uses a sequence, or one without a column. A sequence is a column's own (deptype i for an
# identity, a for OWNED BY), or what its default depends on. What a partition's column uses, the table's does.
_SEQUENCES = """
WITH named AS (SELECT DISTINCT to_regclass(name)::oid AS oid FROM unnest({tables}::text[]) name), moved AS (
    SELECT oid FROM named UNION SELECT p.relid FROM named CROSS JOIN LATERAL pg_partition_tree(named.oid) p
), chosen AS (
    SELECT d.objid AS oid FROM moved m JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = m.oid
        WHERE d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
    UNION SELECT d.refobjid FROM moved m JOIN pg_attrdef f ON f.adrelid = m.oid JOIN pg_depend d
        ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid AND d.refclassid = 'pg_class'::regclass
    UNION SELECT s.oid FROM pg_class s JOIN pg_namespace n ON n.oid = s.relnamespace
        WHERE {others} AND s.relkind = 'S' AND n.nspname NOT IN ({schema}, 'information_schema')
        AND n.nspname !~ '^pg_' AND ({data} = 'public' OR n.nspname = {data}) AND n.nspname !~ '_botdata$'
        AND NOT EXISTS (SELECT FROM pg_namespace o WHERE n.nspname <> {data} AND o.nspname = n.nspname || '_botdata')
), used AS (
    SELECT c.oid, d.refobjid AS relation, d.refobjsubid AS number FROM chosen c JOIN pg_depend d
        ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass
        AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
    UNION SELECT c.oid, f.adrelid, f.adnum FROM chosen c JOIN pg_depend d
        ON d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid AND d.classid = 'pg_attrdef'::regclass
        JOIN pg_attrdef f ON f.oid = d.objid
), uses AS (
    SELECT DISTINCT u.oid, coalesce(whole.oid, u.relation) AS relation, coalesce(w.attnum, u.number) AS number
    FROM used u JOIN pg_attribute o ON o.attrelid = u.relation AND o.attnum = u.number LEFT JOIN LATERAL (
        SELECT n.oid FROM pg_partition_ancestors(u.relation) a JOIN named n ON n.oid = a.relid
        WHERE NOT EXISTS (SELECT FROM named o WHERE o.oid = u.relation) LIMIT 1
    ) whole ON true LEFT JOIN pg_attribute w ON w.attrelid = whole.oid AND w.attname = o.attname
)
SELECT {schema_said}, s.relname, n.nspname, q.seqincrement, q.seqmin, q.seqmax,
    has_schema_privilege(n.oid, 'USAGE') AND has_sequence_privilege(s.oid, 'SELECT'),
    has_sequence_privilege(s.oid, 'UPDATE'), {table_schema_said}, t.relname, a.attname,
    a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype),
    a.attidentity <> '' OR coalesce(pg_get_expr(f.adbin, f.adrelid) = 'nextval(' || quote_literal(s.oid::regclass::text)
        || '::regclass)', a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)),
    t.relkind IN ('r', 'p') AND has_schema_privilege(tn.oid, 'USAGE')
        AND has_column_privilege(t.oid, a.attnum, 'SELECT')
FROM chosen JOIN pg_class s ON s.oid = chosen.oid AND s.relkind = 'S' JOIN pg_namespace n ON n.oid = s.relnamespace
JOIN pg_sequence q ON q.seqrelid = s.oid LEFT JOIN uses u ON u.oid = s.oid LEFT JOIN pg_class t ON t.oid = u.relation
LEFT JOIN pg_namespace tn ON tn.oid = t.relnamespace
LEFT JOIN pg_attribute a ON a.attrelid = u.relation AND a.attnum = u.number
LEFT JOIN pg_attrdef f ON f.adrelid = u.relation AND f.adnum = u.number
WHERE NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = s.oid
    AND e.deptype = 'e')
ORDER BY 1, 2, tn.nspname, t.relname, a.attname
"""
_DIGITS = "^-?[0-9]{1,18}$"


@dataclass(frozen=True, slots=True)
class Use:
    """A column that takes its values from a sequence.

    Attributes:
        is_integer: of an integer type.
        exact: the column's values are the sequence's own numbers.
        readable: the role may read it.
    """

    schema: str
    relation: str
    column: str
    is_integer: bool
    exact: bool
    readable: bool

    @property
    def table(self) -> str:
        """The table's name: see `label`."""
        return label(self.schema, self.relation)

    @property
    def place(self) -> tuple[str, str, str]:
        """Schema, table and column."""
        return self.schema, self.relation, self.column


@dataclass(frozen=True, slots=True)
class Position:
    """Where a sequence stands: its last value, and whether that was given out already."""

    value: int
    is_called: bool


@dataclass(frozen=True, slots=True)
class DatabaseSequence:
    """A sequence.

    Attributes:
        schema: as statements say it; `place`: its name.
        low, high: bound what it can give out.
    """

    schema: str
    relation: str
    place: str
    increment: int
    low: int
    high: int
    readable: bool
    settable: bool
    uses: tuple[Use, ...]

    @property
    def identifier(self) -> sql.Identifier:
        """The quoted name with its schema."""
        return sql.Identifier(self.schema, self.relation)

    @property
    def name(self) -> str:
        """The name as it stands in a statement: quoted where it must be, and with its schema."""
        return f"{quoted(self.place)}.{quoted(self.relation)}"

    def next_after(self, position: Position) -> int:
        """The number that it gives out next."""
        return position.value + (self.increment if position.is_called else 0)

    def uses_of(self, tables: Iterable[CopyTable]) -> list[Use]:
        """The columns of these tables that use it."""
        named = {(table.schema, table.relation_name) for table in tables}
        return [use for use in self.uses if (use.schema, use.relation) in named]


async def find_sequences(fetch: Fetch, tables: Sequence[CopyTable], *, others: bool = False) -> list[DatabaseSequence]:
    """The sequences that columns of the tables use; with `others`, all of the database: functions may use them."""
    query = sql.SQL(_SEQUENCES).format(
        tables=sql.Literal([table.identifier.as_string(None) for table in tables]),
        others=sql.SQL("true" if others else "false"),
        schema=sql.Literal(SCHEMA),
        data=sql.Literal(DATA),
        schema_said=sql.SQL(said("n.nspname")),
        table_schema_said=sql.SQL(said("tn.nspname")),
    )
    found: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    for row in await fetch(query):
        found.setdefault(row[:8], []).append(row[8:])
    sequences = []
    for own, columns in found.items():
        uses = tuple(Use(*column) for column in columns if column[0] is not None)
        sequences.append(DatabaseSequence(*(*own, uses)))
    return sequences


async def read_positions(fetch: Fetch, sequences: Sequence[DatabaseSequence]) -> dict[DatabaseSequence, Position]:
    """Where those stand that the role may read."""
    readable = [one for one in sequences if one.readable]
    if not readable:
        return {}
    queries = (
        sql.SQL("SELECT {}, last_value, is_called FROM {}").format(sql.Literal(number), one.identifier)
        for number, one in enumerate(readable)
    )
    return {
        readable[number]: Position(value, called)
        for number, value, called in await fetch(sql.SQL(" UNION ALL ").join(queries))
    }


async def raise_sequences(connection: AsyncConnection, table: CopyTable, *, has_quarantine: bool = True) -> None:
    """Set each sequence that the table uses past the furthest value there is in any column that uses it.

    Values of refused rows count too. It is to be called wherever rows may have been brought, also by a run that was
    ended before it came to this.
    """
    for sequence in await find_sequences(fetching(connection), [table]):
        uses = [use for use in sequence.uses if use.exact and use.readable]
        values = [_furthest_value(sequence, use) for use in uses]
        values += [_furthest_refused(sequence, use) for use in uses if has_quarantine]
        if values:
            await _set_further(connection, sequence, values)


async def follow(connection: AsyncConnection, sequence: DatabaseSequence, positions: Iterable[Position]) -> None:
    """Set a sequence as far as others stand."""
    values = [
        sql.SQL("SELECT {}::numeric, {}").format(sql.Literal(one.value), sql.Literal(one.is_called))
        for one in positions
    ]
    await _set_further(connection, sequence, values)


async def _set_further(connection: AsyncConnection, sequence: DatabaseSequence, values: Sequence[sql.Composed]) -> None:
    """Set a sequence to the furthest of some values, given by queries with the value and whether it was given out.

    Between the look at where it stands and the setting, no row may be inserted by its default: the sequence would fall
    back afterwards. Its tables are locked for that, where the role may; a bare `nextval` is not kept out.
    """
    if not await fetch_value(connection, _further(sequence, values, sets=False)):
        return
    async with connection.transaction():
        for schema, relation in sorted({(use.schema, use.relation) for use in sequence.uses}):
            with suppress(psycopg.errors.InsufficientPrivilege, psycopg.errors.WrongObjectType):
                async with connection.transaction():
                    await connection.execute(
                        sql.SQL("LOCK TABLE {} IN SHARE MODE").format(sql.Identifier(schema, relation))
                    )
        await connection.execute(_further(sequence, values, sets=True))


def _further(sequence: DatabaseSequence, values: Iterable[sql.Composed], *, sets: bool) -> sql.Composed:
    """A row where one of the values is further than the sequence stands; it is set to that where it is to be."""
    step, sign = sql.Literal(sequence.increment), sql.Literal(1 if sequence.increment > 0 else -1)
    return sql.SQL(
        "SELECT {result} FROM (SELECT value, called, "
        "(value + CASE WHEN called THEN {step} ELSE 0 END) * {sign} AS reach FROM ({values}) c (value, called) "
        "WHERE value BETWEEN {low} AND {high} ORDER BY reach DESC LIMIT 1) best, {sequence} s "
        "WHERE best.reach > (s.last_value::numeric + CASE WHEN s.is_called THEN {step} ELSE 0 END) * {sign}"
    ).format(
        result=sql.SQL("setval({}, best.value::bigint, best.called)").format(
            sql.Literal(sequence.identifier.as_string(None))
        )
        if sets
        else sql.SQL("1"),
        sequence=sequence.identifier,
        values=sql.SQL(" UNION ALL ").join(values),
        step=step,
        sign=sign,
        low=sql.Literal(sequence.low),
        high=sql.Literal(sequence.high),
    )


def _furthest_value(sequence: DatabaseSequence, use: Use) -> sql.Composed:
    column = sql.SQL("{}" if use.is_integer else "{}::text").format(sql.Identifier(use.column))
    number = column if use.is_integer else _number(column)
    query = sql.SQL("SELECT {} AS v FROM {}").format(number, sql.Identifier(use.schema, use.relation))
    return _furthest(sequence, query)


def _furthest_refused(sequence: DatabaseSequence, use: Use) -> sql.Composed:
    query = sql.SQL("SELECT {} AS v FROM ({}) refused").format(
        _number(sql.SQL("value").format()), quarantine.values_of(use.table, use.column)
    )
    return _furthest(sequence, query)


def _furthest(sequence: DatabaseSequence, numbers: sql.Composed) -> sql.Composed:
    """Of the numbers that the sequence can give out."""
    return sql.SQL("SELECT {}(v)::numeric, true FROM ({}) n WHERE v BETWEEN {} AND {}").format(
        sql.SQL("max" if sequence.increment > 0 else "min"),
        numbers,
        sql.Literal(sequence.low),
        sql.Literal(sequence.high),
    )


def _number(text: sql.Composed) -> sql.Composed:
    return sql.SQL("CASE WHEN {text} ~ {digits} THEN ({text})::numeric END").format(
        text=text, digits=sql.Literal(_DIGITS)
    )


async def sequence_statements(connection: AsyncConnection, table: CopyTable) -> list[str]:
    """Statements that set the sequences of another database with the same table as far as these, and past its rows.

    They never set one back; each costs one number.
    """
    fetch = fetching(connection)
    sequences = await find_sequences(fetch, [table])
    positions = await read_positions(fetch, sequences)
    return [
        Schemas().named(_statement(one, use, table, positions.get(one)).as_string(connection))  # to Supabase's `public`
        for one in sequences
        for use in one.uses_of([table])
    ]


def _statement(one: DatabaseSequence, use: Use, table: CopyTable, position: Position | None) -> sql.Composed:
    rises = one.increment > 0
    name = sql.SQL("coalesce(pg_get_serial_sequence({}, {}), {})").format(
        *map(sql.Literal, (table.identifier.as_string(None), use.column, one.name))
    )
    numbers = [sql.SQL("nextval({})").format(name)]
    if position is not None and position.is_called:
        numbers.insert(0, sql.SQL("{}").format(sql.Literal(position.value)))
    if use.exact and use.is_integer:
        furthest = sql.SQL("(SELECT max({}) FROM {})" if rises else "(SELECT min({}) FROM {})")
        numbers.insert(0, furthest.format(sql.Identifier(use.column), table.identifier))
    return sql.SQL("SELECT setval({}, {}({}));").format(
        name, sql.SQL("greatest" if rises else "least"), sql.SQL(", ").join(numbers)
    )
