"""Foreign keys of the target that a run took away or left unchecked, until they are validated or proved."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from psycopg import AsyncConnection, sql

from app.common.schemas import DATA
from app.state.fetching import fetch_each, fetch_rows
from app.state.schema_name import SCHEMA

# Of a partitioned table the one that its partitions' follow. One that PostgreSQL does not enforce (18 and later)
# hinders nothing. One that we left NOT VALID for its orphans is to be valid again. What breaks one is asked as
# PostgreSQL itself asks it: by the key's own operators, without the rows of heirs.
_FOREIGN_KEYS = f"""
SELECT n.nspname, t.relname, CASE n.nspname WHEN '{DATA}' THEN '' ELSE n.nspname || '.' END || t.relname, c.conname,
    regexp_replace(pg_get_constraintdef(c.oid), ' NOT VALID$', ''),
    format('SELECT c.* FROM %%s%%I.%%I c WHERE (%%s) AND NOT EXISTS (SELECT FROM %%s%%I.%%I p WHERE %%s)',
        CASE t.relkind WHEN 'r' THEN 'ONLY ' END, n.nspname, t.relname, tested.named,
        CASE r.relkind WHEN 'r' THEN 'ONLY ' END, rn.nspname, r.relname, tested.same),
    c.convalidated OR EXISTS (SELECT FROM {SCHEMA}.foreign_keys f WHERE f.schema_name = n.nspname
        AND f.table_name = t.relname AND f.name = c.conname AND f.state = 'not valid'),
    %(state)s::text, quote_ident(rn.nspname) || '.' || quote_ident(r.relname),
    quote_ident(rn.nspname) || '.' || quote_ident(r.relname), obj_description(c.oid, 'pg_constraint'),
    pg_has_role(t.relowner, 'USAGE'), pg_get_userbyid(t.relowner)
FROM pg_constraint c
JOIN pg_class t ON t.oid = c.conrelid JOIN pg_namespace n ON n.oid = t.relnamespace
JOIN pg_class r ON r.oid = c.confrelid JOIN pg_namespace rn ON rn.oid = r.relnamespace
CROSS JOIN LATERAL (
    SELECT string_agg(format('c.%%I IS NOT NULL', ours.attname),
            CASE c.confmatchtype WHEN 'f' THEN ' OR ' ELSE ' AND ' END ORDER BY place) AS named,
        string_agg(format('p.%%I%%s %%s c.%%I', theirs.attname,
            CASE WHEN k.oid IS NOT NULL THEN format(' COLLATE %%I.%%I', ks.nspname, k.collname) END,
            CASE os.nspname WHEN 'pg_catalog' THEN o.oprname ELSE format('OPERATOR(%%I.%%s)', os.nspname, o.oprname)
            END, ours.attname), ' AND ' ORDER BY place) AS same
    FROM unnest(c.conkey, c.confkey, c.conpfeqop) WITH ORDINALITY AS u (our, their, operator, place)
    JOIN pg_attribute ours ON ours.attrelid = c.conrelid AND ours.attnum = u.our
    JOIN pg_attribute theirs ON theirs.attrelid = c.confrelid AND theirs.attnum = u.their
    JOIN pg_operator o ON o.oid = u.operator JOIN pg_namespace os ON os.oid = o.oprnamespace
    LEFT JOIN pg_collation k ON k.oid = theirs.attcollation AND theirs.attcollation <> ours.attcollation
    LEFT JOIN pg_namespace ks ON ks.oid = k.collnamespace
) tested
WHERE c.contype = 'f' AND coalesce((to_jsonb(c) ->> 'conenforced')::boolean, true)
"""
_FIND = f"""
{_FOREIGN_KEYS} AND c.conparentid = 0
AND (c.conrelid = ANY (%(tables)s::regclass[]) OR c.confrelid = ANY (%(tables)s::regclass[]))
ORDER BY 1, 2, c.conname
"""
# Those of a table and its partitions that are marked valid, and of which nothing is noted yet; where the table is a
# partition itself, its parent's.
_FIND_TO_PROVE = f"""
WITH RECURSIVE tree (oid) AS (SELECT to_regclass(%(table)s)::oid
    UNION SELECT relid FROM pg_partition_tree(to_regclass(%(table)s))),
up (oid, parent) AS (SELECT oid, conparentid FROM pg_constraint WHERE contype = 'f'
    AND (conrelid IN (SELECT oid FROM tree) OR confrelid IN (SELECT oid FROM tree))
    UNION SELECT k.oid, k.conparentid FROM up JOIN pg_constraint k ON k.oid = up.parent)
{_FOREIGN_KEYS} AND c.convalidated AND c.oid IN (SELECT oid FROM up WHERE parent = 0)
AND NOT EXISTS (SELECT FROM {SCHEMA}.foreign_keys f WHERE f.schema_name = n.nspname
    AND f.table_name = t.relname AND f.name = c.conname AND f.state <> 'validated')
ORDER BY 1, 2, c.conname
"""
# Those that are still away. What their owner has put back, validated or dropped meanwhile is not. Tables are found by
# name, for a role too that may not use a parent's schema.
_KEPT = f"""
{SCHEMA}.foreign_keys f
LEFT JOIN (pg_class t JOIN pg_namespace ts ON ts.oid = t.relnamespace)
    ON ts.nspname = f.schema_name AND t.relname = f.table_name
LEFT JOIN pg_constraint c ON c.conrelid = t.oid AND c.conname = f.name AND c.contype = 'f'
LEFT JOIN (pg_class p JOIN pg_namespace n ON n.oid = p.relnamespace)
    ON quote_ident(n.nspname) || '.' || quote_ident(p.relname) = f.referenced
"""
_AWAY = (
    "(f.state = 'dropped' AND c.oid IS NULL OR f.state = 'not valid' AND NOT c.convalidated "
    "OR f.state = 'unproved' AND c.oid IS NOT NULL)"
)


@dataclass(frozen=True, slots=True)
class KeptForeignKey:
    """A foreign key that is not back and validated yet, or not proved.

    Attributes:
        definition: without NOT VALID.
        orphans: the query for the rows that break it; a NULL in the reference names none.
        was_valid: it was valid when it was taken away, and is to be so again.
        state: "dropped", "not valid", or "unproved": on its table and marked valid, but not checked for some rows.
        of_table, parent: its table, and the one that it refers to, with a schema unless that is DATABASE_SCHEMA's;
            referenced: the parent's quoted name.
        comment: what is said of it.
    """

    schema: str
    table: str
    of_table: str
    name: str
    definition: str
    orphans: str
    was_valid: bool
    state: str
    parent: str
    referenced: str
    comment: str | None

    @property
    def identifier(self) -> sql.Identifier:
        """The quoted name of its table."""
        return sql.Identifier(self.schema, self.table)

    @property
    def statement(self) -> str:
        """What puts it back, checked for every row; whoever owns the table may run it."""
        name = sql.Identifier(self.name).as_string(None)
        what = (
            f"VALIDATE CONSTRAINT {name}" if self.state == "not valid" else f"ADD CONSTRAINT {name} {self.definition}"
        )
        if self.state == "unproved":
            what = f"DROP CONSTRAINT {name}, {what}"
        return f"ALTER TABLE {self.identifier.as_string(None)} {what}"


async def find_foreign_keys(
    connection: AsyncConnection, tables: Sequence[str]
) -> list[tuple[KeptForeignKey, bool, str]]:
    """The foreign keys on or to these tables as they are in the target, to be dropped.

    Args:
        tables: their quoted names.

    Returns:
        Of each: what is to be kept of it (`was_valid`: it is, or was until a run left it NOT VALID); whether the role
        owns the table, and who does.
    """
    rows = await fetch_rows(connection, _FIND, {"tables": list(tables), "state": "dropped"})
    return [(KeptForeignKey(*known), owned, owner) for *known, owned, owner in rows]


async def note_unproved(connection: AsyncConnection, run: int, table: str) -> None:
    """In a transaction that writes rows unchecked: note the foreign keys on or to the table that are marked valid.

    Args:
        table: its quoted name.
    """
    for *known, _, _ in await fetch_rows(connection, _FIND_TO_PROVE, {"table": table, "state": "unproved"}):
        await keep(connection, run, KeptForeignKey(*known))


async def keep(connection: AsyncConnection, run: int, kept: KeptForeignKey) -> None:
    """Write down one that is dropped, or not checked, in the same transaction."""
    await connection.execute(
        f"INSERT INTO {SCHEMA}.foreign_keys (run_id, schema_name, table_name, name, referenced, definition, orphans, "
        "was_valid, state, comment) VALUES (%(run)s, %(schema)s, %(table)s, %(name)s, %(referenced)s, %(definition)s, "
        "%(orphans)s, %(was_valid)s, %(state)s, %(comment)s) ON CONFLICT (schema_name, table_name, name) DO UPDATE SET "
        "run_id = excluded.run_id, referenced = excluded.referenced, definition = excluded.definition, "
        "orphans = excluded.orphans, was_valid = excluded.was_valid, state = excluded.state, "
        "comment = excluded.comment",
        {**asdict(kept), "run": run},
    )


async def away(connection: AsyncConnection) -> list[KeptForeignKey]:
    """Those that any run took away and that are not back and validated, and those that none has proved."""
    return await fetch_each(
        connection,
        KeptForeignKey,
        "SELECT f.schema_name, f.table_name, "
        f"CASE f.schema_name WHEN '{DATA}' THEN '' ELSE f.schema_name || '.' END || f.table_name, "
        f"f.name, f.definition, f.orphans, f.was_valid, f.state, CASE n.nspname WHEN '{DATA}' "
        "THEN p.relname::text ELSE coalesce(n.nspname || '.' || p.relname, f.referenced) END, "
        f"f.referenced, f.comment FROM {_KEPT} WHERE {_AWAY} ORDER BY f.schema_name, f.table_name, f.name",
    )


async def forget_settled(connection: AsyncConnection) -> None:
    """Forget those on or to a table that is not there any more, and those that their owner has settled by hand."""
    await connection.execute(
        f"DELETE FROM {SCHEMA}.foreign_keys k WHERE (k.schema_name, k.table_name, k.name) IN (SELECT f.schema_name, "
        f"f.table_name, f.name FROM {_KEPT} WHERE p.oid IS NULL OR t.oid IS NULL "
        f"OR (f.state <> 'validated' AND {_AWAY} IS NOT TRUE))"
    )


async def note_state(connection: AsyncConnection, kept: KeptForeignKey, state: str) -> None:
    """Note that one is back: "not valid" or "validated", which is said of a proved one too."""
    await connection.execute(
        f"UPDATE {SCHEMA}.foreign_keys SET state = %(state)s "
        "WHERE schema_name = %(schema)s AND table_name = %(table)s AND name = %(name)s",
        {**asdict(kept), "state": state},
    )


async def take_over(connection: AsyncConnection, run: int) -> None:
    """Those that earlier runs left away, or unproved, are for this one."""
    await connection.execute(
        f"UPDATE {SCHEMA}.foreign_keys SET run_id = %(run)s WHERE state <> 'validated'", {"run": run}
    )
