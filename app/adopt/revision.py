"""Writes revisions: the first one, of what pg_dump says, and the next, which brings a schema to where the source's is.

The next holds what was added, and code that was changed. Nothing is dropped, and no column, key or type is changed:
that can lose rows, and is for a person to do.
"""

import json
import re
from collections import defaultdict
from collections.abc import Sequence

from psycopg import AsyncConnection, sql

from app.adopt.dump import table_statements
from app.adopt.proof import Difference, policy_statement, split_name, taken
from app.adopt.scope import STEP, Referenced, Scope, quoted
from app.migration.target.target_session import explained
from app.schema.pg_dump import PgDump
from app.stores.postgres.session import connect

# A sequence that belongs to a new table comes with it.
_PLACES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE format('%%I.%%I', n.nspname, c.relname) = ANY (%(names)s) AND NOT EXISTS (
    SELECT FROM pg_depend d JOIN pg_class t ON t.oid = d.refobjid JOIN pg_namespace s ON s.oid = t.relnamespace
    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i') AND c.relkind = 'S'
    AND format('%%I.%%I', s.nspname, t.relname) = ANY (%(names)s))
ORDER BY c.oid
"""


async def statements_for(
    connection: AsyncConnection, source_url: str, scope: Scope, found: Sequence[Difference], pg_dump: PgDump
) -> tuple[list[str], list[str]]:
    """What makes up for the differences: values of enums, which have to be committed first, and all else.

    Args:
        connection: a session at the source.
    """
    values = [text for one in found if one.kind == "type" for text in _enum_values(one)]
    statements = [text for one in found if (text := _statement(one)) is not None]
    new = [one.name for one in found if one.kind in {"table", "sequence"} and one.target is None]
    places = await (await connection.execute(_PLACES, {"names": new})).fetchall()
    statements += [text for place in places if (text := await table_statements(source_url, scope, [place], pg_dump))]
    return values, statements


def _statement(one: Difference) -> str | None:
    """The statement that adds or changes one thing; None where that is not done here, or comes with its table."""
    if one.source is None:
        return None
    if one.kind == "schema":
        return f"CREATE SCHEMA {one.name};"
    if one.kind == "function":
        return f"{one.source};" if one.source.startswith("CREATE") else None
    said = json.loads(one.source) if one.source.startswith("{") else {}
    if one.kind == "type" and one.target is None and said["labels"]:
        labels = ", ".join(sql.Literal(label).as_string(None) for label in said["labels"])
        return f"CREATE TYPE {one.name} AS ENUM ({labels});"
    if one.kind == "table" and said["kind"] == "v" and one.target is not None:
        options = f" WITH ({said['options']})" if said["options"] else ""
        return f"CREATE OR REPLACE VIEW {one.name}{options} AS\n{said['view']}"
    if one.kind == "column" and one.target is None:
        return _column(one.name, said)
    if one.kind == "sequence" and one.target is None and said["of"] is not None:
        return f"ALTER SEQUENCE {one.name} OWNED BY {said['of']};"
    if one.kind == "index" and one.target is None:
        return f"{said['is']};"
    if one.kind == "policy":
        name, table = split_name(one.name, " on ")
        dropped = f"DROP POLICY {name} ON {table};\n" if one.target is not None else ""
        return dropped + policy_statement(name, table, said)
    return None


def _enum_values(one: Difference) -> list[str]:
    if one.source is None or one.target is None:
        return []
    wanted, present = json.loads(one.source)["labels"] or [], json.loads(one.target)["labels"] or []
    statements = []
    for position, label in enumerate(wanted):
        if label not in present:
            before = f" AFTER {sql.Literal(wanted[position - 1]).as_string(None)}" if position else ""
            first = f" BEFORE {sql.Literal(present[0]).as_string(None)}" if not position and present else ""
            statements.append(
                f"ALTER TYPE {one.name} ADD VALUE IF NOT EXISTS {sql.Literal(label).as_string(None)}{before or first};"
            )
    return statements


def _column(name: str, said: dict[str, str]) -> str:
    """A column is added without NOT NULL where nothing fills it in the rows that are there."""
    table, column = split_name(name, ".")
    parts = [f"ALTER TABLE {table} ADD COLUMN {column} {said['type']}"]
    if said["collation"]:
        parts.append(f"COLLATE {said['collation']}")
    if said["generated"]:
        kind = "STORED" if said["generated"] == "s" else "VIRTUAL"
        parts.append(f"GENERATED ALWAYS AS ({said['default']}) {kind}")
    elif said["identity"]:
        parts.append(f"GENERATED {'ALWAYS' if said['identity'] == 'a' else 'BY DEFAULT'} AS IDENTITY")
    elif said["default"]:
        parts.append(f"DEFAULT {said['default']}")
    if said["not null"] and (said["default"] or said["identity"]):
        parts.append("NOT NULL")
    return f"{' '.join(parts)};"


async def that_work(url: str, values: Sequence[str], statements: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those that the scratch database takes, in an order in which it does; nothing but values of enums stays in it."""
    with explained(STEP, setting="the scratch database", pending="the next revision"):
        async with await connect(url, setting="the scratch database", step=STEP) as connection:
            made = [text for text in values if await taken(connection, text)]
            done: list[str] = []
            async with connection.transaction(force_rollback=True):
                await connection.execute(SETTINGS)
                waiting = list(statements)
                while waiting:
                    worked = [text for text in waiting if await taken(connection, text)]
                    if not worked:
                        break
                    done += worked
                    waiting = [text for text in waiting if text not in worked]
    return made, done


SETTINGS = """-- Made by botdata adopt.
SET LOCAL search_path = '';
SET LOCAL check_function_bodies = false;
SET LOCAL xmloption = content;
SET LOCAL client_min_messages = warning;
"""
_LINE = "\n-- What follows is as pg_dump wrote it.\n\n"
# Supabase's functions, by their names: what they return, and how they find it in the claims of a request.
_CLAIMS = "nullif(current_setting('request.jwt.claims', true), '')::jsonb"
_AUTH = {
    "uid": ("uuid", "(coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''), {claims} ->> 'sub'))::uuid"),
    "role": ("text", "coalesce(nullif(current_setting('request.jwt.claim.role', true), ''), {claims} ->> 'role')"),
    "email": ("text", "coalesce(nullif(current_setting('request.jwt.claim.email', true), ''), {claims} ->> 'email')"),
    "jwt": ("jsonb", "coalesce(nullif(current_setting('request.jwt.claim', true), '')::jsonb, {claims})"),
}
_USED = re.compile(r'\bauth"?\."?(uid|role|email|jwt)"?\s*\(')


def first_statements(scope: Scope, dumped: str) -> str:
    """All statements of the first revision."""
    lines = []
    for name, schema in scope.extensions:
        if schema not in {"pg_catalog", "public"}:
            lines.append(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)};")
        lines.append(f"CREATE EXTENSION IF NOT EXISTS {quoted(name)} WITH SCHEMA {quoted(schema)};")
    functions = sorted(set(_USED.findall(dumped)))
    if functions or scope.auth_tables:
        lines.append("CREATE SCHEMA IF NOT EXISTS auth;")
    for name in functions:
        returned, expression = _AUTH[name]
        lines.append(
            f"CREATE OR REPLACE FUNCTION auth.{name}() RETURNS {returned} LANGUAGE sql STABLE"
            f" AS $$ SELECT {expression.format(claims=_CLAIMS)} $$;"
        )
    if functions:  # calling the functions needs no more; the tables in the schema stay closed
        lines.append("GRANT USAGE ON SCHEMA auth TO PUBLIC;")
    lines += _outside(scope.referenced)
    for schema, _, definition in scope.functions:
        lines += [f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)};", f"{definition};"]
    return SETTINGS + "\n".join(dict.fromkeys(lines)) + _LINE + dumped


def _outside(referenced: tuple[Referenced, ...]) -> list[str]:
    """Tables that are not part of the move, with the columns that foreign keys refer to, or views and policies read."""
    keys: defaultdict[tuple[str, str], list[Referenced]] = defaultdict(list)
    for key in referenced:
        keys[key.schema, key.name].append(key)
    lines = []
    for (schema, name), found in keys.items():
        columns = dict(pair for key in found for pair in zip(key.columns, key.types, strict=True))
        of_keys = {column for key in found if key.is_key for column in key.columns}
        parts = [
            f"{quoted(column)} {written}{' NOT NULL' if column in of_keys else ''}"
            for column, written in columns.items()
        ]
        parts += [f"UNIQUE ({', '.join(map(quoted, key.columns))})" for key in found if key.is_key]
        lines += [
            f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)};",
            f"CREATE TABLE IF NOT EXISTS {quoted(schema)}.{quoted(name)} ({', '.join(parts)});",
        ]
    return lines
