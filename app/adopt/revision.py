"""Puts the statements of the first revision together: what the schemas need from outside, then what pg_dump wrote."""

import re
from collections import defaultdict

from app.adopt.scope import Referenced, Scope, quoted

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
