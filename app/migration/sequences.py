"""Raising the sequences of a table past the rows that were brought into it."""

from __future__ import annotations

from psycopg import AsyncConnection, sql

from app.migration.tables import CopyTable

_SEQUENCES = """
SELECT a.attname, pg_get_serial_sequence(%s, a.attname) FROM pg_attribute a
WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
AND pg_get_serial_sequence(%s, a.attname) IS NOT NULL
"""
_HIGHEST_REFUSED = sql.SQL(
    "(SELECT max((row_text ->> {text})::bigint) FROM botdata.quarantine WHERE table_name = {plain} "
    "AND row_text ->> {text} ~ '^[0-9]{{1,18}}$' AND (row_text ->> {text})::bigint <= "
    "(SELECT seqmax FROM pg_sequence WHERE seqrelid = {name}::regclass))"
)


async def raise_sequences(connection: AsyncConnection, table: CopyTable, *, has_quarantine: bool = True) -> None:
    """Set each sequence of the table past the highest value there is, refused rows included; never lower it.

    It is to be called wherever rows may have been brought, also by a run that was ended before it came to this.
    """
    refused = _HIGHEST_REFUSED if has_quarantine else sql.SQL("NULL")
    qualified = table.identifier.as_string(connection)
    cursor = await connection.execute(_SEQUENCES, [qualified, qualified, qualified])
    for column, sequence in await cursor.fetchall():
        await connection.execute(
            sql.SQL(
                "SELECT setval({name}, top.value) FROM (SELECT greatest("
                "(SELECT max({column}) FROM {table}), {refused}) AS value) top, {sequence} s "
                "WHERE top.value > CASE WHEN s.is_called THEN s.last_value ELSE s.last_value - 1 END"
            ).format(
                name=sql.Literal(sequence),
                column=sql.Identifier(column),
                table=table.identifier,
                refused=refused.format(
                    name=sql.Literal(sequence), text=sql.Literal(column), plain=sql.Literal(table.name)
                ),
                sequence=sql.SQL(sequence),
            )
        )


async def sequence_statements(connection: AsyncConnection, table: CopyTable) -> list[str]:
    """Statements that raise the table's sequences past its highest values, for another database with the same table.

    They never lower one; each costs one number.
    """
    qualified = table.identifier.as_string(connection)
    cursor = await connection.execute(_SEQUENCES, [qualified, qualified, qualified])
    return [
        sql.SQL("SELECT setval({sequence}, greatest((SELECT max({column}) FROM {table}), nextval({sequence})));")
        .format(
            sequence=sql.SQL("pg_get_serial_sequence({}, {})").format(sql.Literal(qualified), sql.Literal(column)),
            column=sql.Identifier(column),
            table=table.identifier,
        )
        .as_string(connection)
        for column, _ in await cursor.fetchall()
    ]
