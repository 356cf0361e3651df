"""What stands for a row that has no key: a hash of all its columns as text, NULLs told from empty texts."""

from psycopg import sql

from app.migration.load.bisection import number_column
from app.migration.load.statements import listed
from app.migration.tables.copy_table import CopyTable


def content(table: CopyTable, row: str) -> sql.Composed:
    """The hash of a row of the target, or of one that waits in a temporary table: 32 hexadecimal digits."""
    texts = listed(sql.SQL("{}::text").format(sql.Identifier(row, name)) for name in table.names)
    return sql.SQL("left(encode(sha256(convert_to(ROW({})::text, 'UTF8')), 'hex'), 32) COLLATE \"C\"").format(texts)


def content_and_place(table: CopyTable, row: str) -> sql.Composed:
    """The same of some waiting rows, as text[], with the place of each among its equals: 1, 2 and so on."""
    return sql.SQL("ARRAY[{0}, row_number() OVER (PARTITION BY {0} ORDER BY {1})::text]").format(
        content(table, row), sql.Identifier(row, number_column(table))
    )
