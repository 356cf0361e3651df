"""Names of tables: in our statements, as parameters of them, and in statements that people may carry out."""

from psycopg import AsyncConnection, sql
from sqlalchemy import Table

from app.common.schemas import DATA, schemas_of


def schema_of(table: Table) -> str:
    """A model's schema as our statements say it: `public`, written out or not, is that of DATABASE_SCHEMA."""
    return DATA if table.schema in {None, "public"} else str(table.schema)


def identifier_of(table: Table) -> sql.Identifier:
    """A model's table as our statements say it."""
    return sql.Identifier(schema_of(table), table.name)


def named(connection: AsyncConnection, identifier: sql.Identifier) -> str:
    """The quoted name itself, which a parameter of a statement and a sentence need."""
    return schemas_of(connection).named(identifier.as_string(None))


def quoted(name: str) -> str:
    """A name as it stands in such a statement: in quotes where it needs them, as a reserved word does."""
    from sqlalchemy.dialects import postgresql  # heavy, and seldom needed

    return postgresql.dialect().identifier_preparer.quote(name)  # type: ignore[no-untyped-call]
