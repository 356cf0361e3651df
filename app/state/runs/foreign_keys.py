"""Foreign keys of the target that a run took away, until they are back and validated."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from psycopg import AsyncConnection, sql

from app.state.fetching import fetch_rows
from app.state.schema_name import SCHEMA

# Those on or to one of the tables; of a partitioned table the one that its partitions' follow. One that PostgreSQL
# does not enforce (18 and later) hinders nothing. One that we left NOT VALID for its orphans is to be valid again.
_FIND = f"""
SELECT n.nspname, t.relname, c.conname, quote_ident(rn.nspname) || '.' || quote_ident(r.relname),
    regexp_replace(pg_get_constraintdef(c.oid), ' NOT VALID$', ''),
    c.convalidated OR EXISTS (SELECT FROM {SCHEMA}.foreign_keys f WHERE f.schema_name = n.nspname
        AND f.table_name = t.relname AND f.name = c.conname AND f.state = 'not valid'),
    ARRAY(SELECT quote_ident(a.attname) FROM unnest(c.conkey) WITH ORDINALITY k (attnum, place)
        JOIN pg_attribute a USING (attnum) WHERE a.attrelid = c.conrelid ORDER BY place),
    ARRAY(SELECT quote_ident(a.attname) FROM unnest(c.confkey) WITH ORDINALITY k (attnum, place)
        JOIN pg_attribute a USING (attnum) WHERE a.attrelid = c.confrelid ORDER BY place),
    pg_has_role(t.relowner, 'USAGE'), pg_get_userbyid(t.relowner)
FROM pg_constraint c
JOIN pg_class t ON t.oid = c.conrelid JOIN pg_namespace n ON n.oid = t.relnamespace
JOIN pg_class r ON r.oid = c.confrelid JOIN pg_namespace rn ON rn.oid = r.relnamespace
WHERE c.contype = 'f' AND c.conparentid = 0 AND coalesce((to_jsonb(c) ->> 'conenforced')::boolean, true)
AND (c.conrelid = ANY (%(tables)s::regclass[]) OR c.confrelid = ANY (%(tables)s::regclass[]))
ORDER BY 1, 2, 3
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
_AWAY = "(f.state = 'dropped' AND c.oid IS NULL OR f.state = 'not valid' AND NOT c.convalidated)"


@dataclass(frozen=True, slots=True)
class KeptForeignKey:
    """A foreign key that is not back and validated yet.

    Attributes:
        definition: without NOT VALID.
        orphans: the query for the rows that break it.
        was_valid: it was valid when it was taken away, and is to be so again.
        state: "dropped" or "not valid".
        parent: the table that it refers to, with its schema unless that is public.
    """

    schema: str
    table: str
    name: str
    definition: str
    orphans: str
    was_valid: bool
    state: str
    parent: str

    @property
    def of_table(self) -> str:
        """Its table, with its schema unless that is public."""
        return self.table if self.schema == "public" else f"{self.schema}.{self.table}"

    @property
    def identifier(self) -> sql.Identifier:
        """The quoted name of its table."""
        return sql.Identifier(self.schema, self.table)


async def find_foreign_keys(connection: AsyncConnection, tables: Sequence[str]) -> list[tuple[Any, ...]]:
    """The foreign keys on or to these tables as they are in the target.

    Args:
        tables: their quoted names.

    Returns:
        Of each: schema, table and name; the quoted table it refers to; its definition without NOT VALID; whether it is
        valid, or was until a run left it NOT VALID; its quoted columns and those that they refer to; whether the role
        owns the table, and who does.
    """
    return await fetch_rows(connection, _FIND, {"tables": list(tables)})


async def keep(connection: AsyncConnection, run: int, kept: KeptForeignKey, referenced: str) -> None:
    """Write down one that is dropped in the same transaction.

    Args:
        referenced: the quoted table that it refers to.
    """
    await connection.execute(
        f"INSERT INTO {SCHEMA}.foreign_keys (run_id, schema_name, table_name, name, referenced, definition, orphans, "
        "was_valid, state) VALUES (%(run)s, %(schema)s, %(table)s, %(name)s, %(referenced)s, %(definition)s, "
        "%(orphans)s, %(was_valid)s, %(state)s) ON CONFLICT (schema_name, table_name, name) DO UPDATE SET "
        "run_id = excluded.run_id, referenced = excluded.referenced, definition = excluded.definition, "
        "orphans = excluded.orphans, was_valid = excluded.was_valid, state = excluded.state",
        {**asdict(kept), "run": run, "referenced": referenced},
    )


async def away(connection: AsyncConnection) -> list[KeptForeignKey]:
    """Those that any run took away, and that are not back and validated."""
    rows = await fetch_rows(
        connection,
        "SELECT f.schema_name, f.table_name, f.name, f.definition, f.orphans, f.was_valid, f.state, CASE n.nspname "
        "WHEN 'public' THEN p.relname::text ELSE coalesce(n.nspname || '.' || p.relname, f.referenced) END "
        f"FROM {_KEPT} WHERE {_AWAY} ORDER BY f.schema_name, f.table_name, f.name",
    )
    return [KeptForeignKey(*row) for row in rows]


async def forget_settled(connection: AsyncConnection) -> None:
    """Forget those on or to a table that is not there any more, and those that their owner has settled by hand."""
    await connection.execute(
        f"DELETE FROM {SCHEMA}.foreign_keys k WHERE (k.schema_name, k.table_name, k.name) IN (SELECT f.schema_name, "
        f"f.table_name, f.name FROM {_KEPT} WHERE p.oid IS NULL OR t.oid IS NULL "
        f"OR (f.state <> 'validated' AND {_AWAY} IS NOT TRUE))"
    )


async def note_state(connection: AsyncConnection, kept: KeptForeignKey, state: str) -> None:
    """Note that one is back: "not valid" or "validated"."""
    await connection.execute(
        f"UPDATE {SCHEMA}.foreign_keys SET state = %(state)s "
        "WHERE schema_name = %(schema)s AND table_name = %(table)s AND name = %(name)s",
        {**asdict(kept), "state": state},
    )


async def take_over(connection: AsyncConnection, run: int) -> None:
    """Those that earlier runs left away are for this one to put back."""
    await connection.execute(
        f"UPDATE {SCHEMA}.foreign_keys SET run_id = %(run)s WHERE state <> 'validated'", {"run": run}
    )
