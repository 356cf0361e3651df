"""Rows that wait in a temporary table: loaded in pieces by a function in the server, which finds the refused ones.

Each try is a block with an exception handler inside the function: no round trips, plans that are made once. A piece
that fails is tried again up to the row at which it failed, and is halved where that does not find the row at fault: at
most O(log piece) statements.
"""

import hashlib
from dataclasses import dataclass
from math import isqrt
from typing import NamedTuple

from psycopg import AsyncConnection, sql

from app.migration.load import statements
from app.migration.load.narrowing import ensure_refusal
from app.migration.tables.copy_table import CopyTable
from app.migration.target.target_session import ROW_FAULTS, JsonBytes
from app.stores.supabase.grammar import alias

# Rows of one try at most: a larger one gains nothing, and loses more when it fails.
LARGEST_PIECE = 2048
_SMALLEST_PIECE = 8


class Fault(NamedTuple):
    """A refused row: its number in the staging table, and PostgreSQL's reason. The message may quote values."""

    number: int
    sqlstate: str
    message: str
    place: str | None


@dataclass(frozen=True, slots=True)
class LoadOutcome:
    """What loading from a staging table did.

    Attributes:
        transactions: the xmin of the rows written; several, since each piece is a subtransaction.
    """

    inserted: int
    updated: int
    transactions: frozenset[str]
    faults: tuple[Fault, ...]


def number_column(table: CopyTable) -> str:
    """The staging table's column that numbers the rows: `n`, lengthened where the table has such a column itself."""
    name = "n"
    while name in table.names:
        name += "_"
    return name


async def empty_staging(connection: AsyncConnection, table: CopyTable) -> str:
    """The name of a temporary table for rows of a table, as text; made, or emptied, in the caller's transaction."""
    staging = f"rows_{_digest(repr(table))}"
    columns = sql.SQL(", ").join(sql.SQL("{} text").format(sql.Identifier(name)) for name in table.names)
    await connection.execute(
        sql.SQL("CREATE TEMP TABLE IF NOT EXISTS {} ({} bigint PRIMARY KEY, {})").format(
            sql.Identifier(staging), sql.Identifier(number_column(table)), columns
        )
    )
    await connection.execute(sql.SQL("TRUNCATE pg_temp.{}").format(sql.Identifier(staging)))
    return staging


async def stage_page(connection: AsyncConnection, table: CopyTable, body: bytes) -> tuple[str, int]:
    """Put the rows of a page into a temporary table, numbered from 1.

    Returns:
        The temporary table's name, and how many rows there are.

    Raises:
        psycopg.Error: class 22: the page is not JSON.
    """
    staging = await empty_staging(connection, table)
    sent = sql.SQL(", ").join(sql.SQL("{} text").format(sql.Identifier(alias(i))) for i in range(len(table.columns)))
    cursor = await connection.execute(
        sql.SQL(
            "INSERT INTO pg_temp.{} ({}, {}) SELECT * FROM ROWS FROM (json_to_recordset(%s::json) AS ({})) "
            "WITH ORDINALITY"
        ).format(sql.Identifier(staging), _names(table), sql.Identifier(number_column(table)), sent),
        [JsonBytes(body)],
    )
    return staging, cursor.rowcount


def first_piece(rows: int, refused: int) -> int:
    """How many rows to try at first where so many of the rows before were refused.

    A larger piece costs fewer statements, and more rows that are tried again; a try costs about what two rows do.
    """
    return min(LARGEST_PIECE, max(_SMALLEST_PIECE, isqrt(2 * rows // refused))) if refused else LARGEST_PIECE


async def load_rows(
    connection: AsyncConnection,
    table: CopyTable,
    staging: str,
    *,
    low: int,
    high: int,
    most: int,
    piece: int = LARGEST_PIECE,
) -> LoadOutcome:
    """Load the rows numbered low to high of a temporary table that has an index on the number.

    Args:
        staging: its columns are the number and each of the table's, as text or of the source's type.
        most: refused rows after which it ends early.
        piece: rows of the first try.

    Raises:
        psycopg.Error: something else than a row is at fault; nothing is loaded once the transaction is rolled back.
    """
    await ensure_refusal(connection, table)
    if not table.has_only:
        await connection.execute(statements.create_marks())
    function = await _function(connection, table, staging)
    cursor = await connection.execute(
        sql.SQL("SELECT * FROM pg_temp.{}(%s, %s, %s, %s)").format(sql.Identifier(function)), [low, high, piece, most]
    )
    row = await cursor.fetchone()
    assert row is not None
    inserted, updated, transactions, *reasons = row
    return LoadOutcome(inserted, updated, frozenset(transactions), tuple(map(Fault, *reasons)))


async def _function(connection: AsyncConnection, table: CopyTable, staging: str) -> str:
    """The name of the function that loads this table from this staging table; made where it is not there yet."""
    cursor = await connection.execute(
        "SELECT attname, format_type(atttypid, -1) FROM pg_attribute "
        "WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
        [sql.Identifier("pg_temp", staging).as_string(None)],
    )
    body = _function_body(table, staging, dict(await cursor.fetchall())).as_string(connection)
    name = f"load_{_digest(body)}"
    found = await (await connection.execute("SELECT to_regproc(%s) IS NOT NULL", [f"pg_temp.{name}"])).fetchone()
    if not (found and found[0]):
        await connection.execute("CREATE TEMP SEQUENCE IF NOT EXISTS rows_tried")
        # A generic plan finds the piece by the number's index; the temporary table has no statistics to do better.
        await connection.execute(
            sql.SQL(
                "CREATE FUNCTION pg_temp.{}(low bigint, high bigint, piece bigint, most bigint, "
                "OUT inserted bigint, OUT updated bigint, OUT transactions text[], OUT refused bigint[], "
                "OUT sqlstates text[], OUT messages text[], OUT places text[]) "
                "LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS {}"
            ).format(sql.Identifier(name), sql.Literal(body))
        )
    return name


# A sequence keeps its value when a try is rolled back: it tells at which row that was. Where it was another one after
# all, since a constraint spoke up at the end of the statement, the halving goes on without it.
_TRIED = sql.SQL("'pg_temp.rows_tried'::regclass")

# Categories of SQLSTATEs: in PL/pgSQL, one that ends in 000 stands for all of its class. OUT parameters and variables
# keep what was assigned before an exception, so counts are added last.
_BODY = """
#variable_conflict use_column
<<loading>>
DECLARE
    first bigint := low;
    last bigint;
    faulty bigint := low - 1; -- the last row of a piece that failed, and whose first part has gone in since
    suspect bigint := 0; -- the row at which it failed; -1: it was not that one
    size bigint := least(piece, {largest});
    deleted bigint := 0;
    came bigint;
    changed bigint;
    xids text[];
    sqlstate_ text;
    message_ text;
    constraint_ text;
    column_ text;
BEGIN
    inserted := 0; updated := 0; transactions := '{{}}';
    refused := '{{}}'; sqlstates := '{{}}'; messages := '{{}}'; places := '{{}}';
    WHILE first <= high AND cardinality(refused) < most LOOP
        IF first > faulty THEN
            last := least(high, first + size - 1);
            suspect := 0;
        ELSIF suspect >= first THEN
            last := greatest(first, suspect - 1);
        ELSE
            last := first + (faulty - first) / 2;
        END IF;
        BEGIN
            {delete}
            {load}
            inserted := inserted + came - deleted;
            updated := updated + changed + deleted;
            transactions := transactions || xids;
            IF first > faulty THEN
                size := least({largest}, size + size / 8 + 1);
            END IF;
            first := last + 1;
        EXCEPTION WHEN {faults} THEN
            IF first < last THEN
                suspect := CASE WHEN suspect = 0 THEN currval({tried}) ELSE -1 END;
                faulty := last;
            ELSE
                GET STACKED DIAGNOSTICS sqlstate_ = RETURNED_SQLSTATE, message_ = MESSAGE_TEXT,
                    constraint_ = CONSTRAINT_NAME, column_ = COLUMN_NAME;
                refused := refused || first;
                sqlstates := sqlstates || sqlstate_;
                messages := messages || message_;
                places := places || coalesce(nullif(constraint_, ''), nullif(column_, ''));
                first := first + 1;
                faulty := low - 1;
                size := least({largest}, greatest({smallest}, sqrt(2 * (first - low) / cardinality(refused))::bigint));
            END IF;
        END;
    END LOOP;
END
"""


def _function_body(table: CopyTable, staging: str, types: dict[str, str]) -> sql.Composed:
    page = sql.SQL(
        "page ({0}) AS (SELECT {1} FROM pg_temp.{2} s WHERE s.{3} BETWEEN loading.first AND loading.last "
        "AND setval({4}, s.{3}) > 0)"
    )
    given = [
        sql.SQL("s.{}" if types.get(column.name) == column.type else "s.{}::text").format(sql.Identifier(column.name))
        for column in table.columns
    ]
    number = sql.Identifier(number_column(table))
    rows = page.format(_names(table), sql.SQL(", ").join(given), sql.Identifier(staging), number, _TRIED)
    delete: sql.Composable = sql.SQL("")
    if table.replaces_rows:
        delete = sql.SQL("{}; GET DIAGNOSTICS deleted = ROW_COUNT;").format(statements.delete_changed(table, rows))
    return sql.SQL(_BODY).format(
        largest=sql.Literal(LARGEST_PIECE),
        smallest=sql.Literal(_SMALLEST_PIECE),
        tried=_TRIED,
        delete=delete,
        load=sql.SQL("{} INTO came, changed, xids;").format(statements.load_page(table, rows)),
        faults=sql.SQL(" OR ").join(sql.SQL("SQLSTATE {}").format(sql.Literal(f"{c}000")) for c in sorted(ROW_FAULTS)),
    )


def _names(table: CopyTable) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, table.names))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
