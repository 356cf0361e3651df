"""Rows without a key, in a view or a table without a primary key: they can be neither copied nor compared."""

from psycopg import sql

from app.errors import MigrationError
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.tables.copy_table import CopyTable
from app.next_step import Command, NextStep

_MAY_BE_NULL = """
SELECT attname FROM pg_attribute WHERE attrelid = to_regclass({}) AND NOT attnotnull AND attname = ANY ({})
"""


async def refuse_null_keys(source: PostgresSource, table: CopyTable, *, step: str) -> None:
    """Stop where the source holds a row whose key is NULL in a column; a primary key costs no look at the rows.

    Raises:
        MigrationError: there is one.
    """
    names = [column.name for column in table.key]
    query = sql.SQL(_MAY_BE_NULL).format(sql.Literal(table.identifier.as_string(None)), sql.Literal(names))
    if not (may_be := [name for (name,) in await source.fetch(query)]):
        return
    null = sql.SQL(" OR ").join(sql.SQL("{} IS NULL").format(sql.Identifier(name)) for name in may_be)
    ((found,),) = await source.fetch(
        sql.SQL("SELECT count(*) FROM {} WHERE {}").format((await source.own(table)).rows, null)
    )
    if found:
        raise MigrationError(
            f"{found} rows of {table.name} in the source have NULL in their key ({', '.join(may_be)})",
            step=step,
            table=table.name,
            pending=f"{table.name} and the tables after it",
            next_step=NextStep("give them keys, or leave them out of what the source shows; then: ", Command(step)),
        )
