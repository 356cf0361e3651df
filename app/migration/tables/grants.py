"""The GRANT that a role lacks: for a table, for a schema, or for what an error of PostgreSQL's names."""

import re

from app.migration.tables.copy_table import quoted

SERVICE_ROLE = "service_role"
_SCHEMA = re.compile(r"permission denied for schema (.+?)\)? \[")
_RELATION = re.compile(r"permission denied for (?:table|view|materialized view|foreign table|relation) (.+?)\)? \[")


def grant_select(schema: str, table: str, role: str = SERVICE_ROLE) -> str:
    """The right to read a table."""
    return f"GRANT SELECT ON {quoted(schema)}.{quoted(table)} TO {role}"


def grant_usage(schema: str, role: str = SERVICE_ROLE) -> str:
    """The right to use what is in a schema."""
    return f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {role}"


def schema_denied(message: str) -> str | None:
    """The schema that a message of PostgreSQL's says may not be used."""
    found = _SCHEMA.search(message)
    return found[1] if found else None


def grant_of(message: str, table: str | None = None, *, role: str = SERVICE_ROLE, writing: bool = True) -> str:
    """The grant for a right that an error says is missing, to the role of the service key.

    Args:
        message: an error with PostgreSQL's own sentence in it.
        table: the table at hand, with its schema unless that is public.
        writing: tell too which rights writes want.
    """
    if schema := schema_denied(message):
        return grant_usage(schema, role)
    named = _RELATION.search(message)
    relation = named[1] if named else None
    if table is not None and relation is not None and table.endswith(f".{relation}"):
        place = f"{quoted(table.removesuffix(f'.{relation}'))}.{quoted(relation)}"
    elif relation is not None or table is not None:
        place = f"public.{quoted(relation or table or '')}"
    else:
        return f"grant it to {role} (docs/rights.md)"
    return f"GRANT SELECT ON {place} TO {role}" + (
        " (sync --reverse wants INSERT, UPDATE and DELETE too)" if writing else ""
    )
