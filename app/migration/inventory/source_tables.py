"""The source's tables, with how many rows each holds: over a connection, and over REST."""

from collections.abc import Iterable

import psycopg
from psycopg import AsyncConnection, sql

from app.errors import AccessDeniedError, SchemaMismatchError, StoreError
from app.migration.inventory.fates import Fate, Item, Moved, hash_of
from app.migration.inventory.questions.question import Question, right_to_read
from app.migration.inventory.supabase_objects import KNOWN_TABLES, is_supabase_owned
from app.migration.sources.rest.rest_source import RestSource
from app.migration.tables.copy_table import label, quoted
from app.next_step import Command, NextStep
from app.stores.supabase.answers import total_told
from app.stores.supabase.grammar import quoted_name
from app.stores.supabase.request_parameters import selected

_TABLES = sql.SQL("""
SELECT nspname, relname, format('%I', nspname), format('%I.%I', nspname, relname), relkind, pg_get_userbyid(relowner),
    has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'),
    (SELECT count(*) FROM pg_inherits WHERE inhparent = c.oid),
    (SELECT srvname FROM pg_foreign_table f JOIN pg_foreign_server s ON s.oid = ftserver WHERE ftrelid = c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind IN ('r', 'p', 'f') AND NOT relispartition AND nspname !~ '^pg_'
AND nspname NOT IN ('information_schema', {own})
AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
)
ORDER BY 1, 2
""")


async def table_items(connection: AsyncConnection, moved: Moved, own_schema: str) -> list[Item]:
    """Every table of the user's with its rows, and tables of Supabase's that nobody here knows."""
    rows = await (await connection.execute(_TABLES.format(own=sql.Literal(own_schema)))).fetchall()
    items = []
    for schema, name, quoted_schema, shown, kind, owner, readable, below, server in rows:
        if is_supabase_owned(schema, owner):
            if name not in KNOWN_TABLES.get(schema, {name}):
                items.append(_unknown(shown))
            continue
        if server is not None:
            said = f"a foreign table: its rows are where the server {server} has them"
            how = NextStep("make it in the target, where the application reads it, with its foreign server")
            items.append(Item("table", shown, Fate.BY_HAND, said, how, hash_of(shown)))
            continue
        denied = None, right_to_read(connection, quoted_schema, shown)
        count, right = await _count(connection, shown, has_only=kind == "r") if readable else denied
        fate, why, next_step = moved.fate_of(label(schema, name))
        if count is None and fate is not Fate.MOVED:
            said = "the role may not read its rows"
            items.append(Item("table", shown, Fate.NOT_VISIBLE, said, NextStep(right or ""), hash_of(shown)))
            continue
        told = "rows not counted, since the role may not read them" if count is None else f"{count:,} rows"
        parts = f" in {below:,} partitions" if kind == "p" else ""
        items.append(Item("table", shown, fate, f"{told}{parts}; {why}", next_step, hash_of(shown)))
    return items


async def _count(connection: AsyncConnection, quoted: str, *, has_only: bool) -> tuple[int | None, str | None]:
    """How many rows there are; or None, and the right that is missing."""
    statement = sql.SQL("SELECT count(*) FROM {} {}").format(
        sql.SQL("ONLY" if has_only else ""),
        sql.SQL(quoted),
    )
    try:
        ((rows,),) = await (await connection.execute(statement)).fetchall()
    except psycopg.Error as error:
        if error.sqlstate != "42501":
            raise
        return None, f"a role with BYPASSRLS, since row-level security hides rows of {quoted} from this one"
    return int(rows), None


def _unknown(shown: str) -> Item:
    return Item(
        "table",
        shown,
        Fate.UNKNOWN,
        "a table of Supabase's that the inventory does not know: it may hold the user's work",
        NextStep("look into it, and tick it off"),
        hash_of(shown),
    )


_CONNECTION = NextStep(
    Command("inventory", "--source postgresql://..."), ", as a role that sees all: over REST only tables show"
)


async def items_over_rest(
    source: RestSource, schemas: Iterable[str], moved: Moved, questions: Iterable[Question]
) -> list[Item]:
    """Tables with their rows, and one line for each kind that does not show.

    Raises:
        StoreError: the source cannot be reached, or refuses the key.
    """
    items = []
    for schema in schemas:
        definitions = await _definitions(source, schema)
        if not definitions:
            said = "the server describes no table of this schema"
            items.append(Item("table", f"{schema}.(all)", Fate.NOT_VISIBLE, said, _CONNECTION, hash_of(schema)))
            continue
        for name, definition in sorted(definitions.items()):
            items.append(await _table(source, schema, name, definition, moved))
    kinds = dict.fromkeys(question.kind for question in questions)
    hidden = [*kinds, "object of any other kind", "table of a schema that the API does not expose"]
    items += [
        Item(kind, "(all)", Fate.NOT_VISIBLE, "does not show over REST", _CONNECTION, hash_of(kind)) for kind in hidden
    ]
    return items


async def _definitions(source: RestSource, schema: str) -> dict[str, object]:
    """The server's description of a schema by table; empty where it gives none."""
    try:
        return await source.patiently(lambda: source.rest.described_tables(schema))
    except SchemaMismatchError:  # the schema is not exposed
        return {}


async def _table(source: RestSource, schema: str, name: str, definition: object, moved: Moved) -> Item:
    fate, why, next_step = moved.fate_of(label(schema, name))
    shown, kind = f"{quoted(schema)}.{quoted(name)}", "a table or a view"
    columns = definition.get("properties") if isinstance(definition, dict) else None
    try:
        rows = await _count_over_rest(source, schema, name, next(iter(columns), None) if columns else None)
    except AccessDeniedError:
        how = NextStep(f"GRANT SELECT ON {shown} to the role of the key")
        return Item("table", shown, Fate.NOT_VISIBLE, "the key may not read its rows", how, hash_of(shown))
    told = "rows not counted" if rows is None else f"{rows:,} rows"
    return Item("table", shown, fate, f"{kind}, {told}; {why}", next_step, hash_of(shown))


async def _count_over_rest(source: RestSource, schema: str, name: str, column: str | None) -> int | None:
    """How many rows the server counts; None where it cannot, or takes too long."""
    if column is None:
        return None
    builder = selected(source.rest.table(name, schema), quoted_name(column)).limit(1)
    try:
        response = await source.patiently(lambda: source.rest.respond(builder, headers={"Prefer": "count=exact"}))
    except AccessDeniedError:
        raise
    except StoreError:
        return None
    return total_told(response.headers)
