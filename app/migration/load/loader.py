"""Loading rows into the target: in one transaction with their checkpoint, refused rows found and set aside."""

from __future__ import annotations

import psycopg
from psycopg import AsyncConnection, sql

from app.errors import MigrationError, UnavailableError
from app.migration.load import statements
from app.migration.load.bisection import LARGEST_PIECE, Fault, first_piece, load_rows, number_column, stage_page
from app.migration.load.narrowing import ensure_refusal
from app.migration.load.repeated_keys import put_back, take_repeated
from app.migration.load.table_authority import Permit
from app.migration.retry import repeated
from app.migration.runs.checkpoints import add_to_checkpoint
from app.migration.runs.report import Loaded, Refusal
from app.migration.sources.source import Page
from app.migration.tables.copy_table import CopyTable
from app.migration.target.target_session import JsonBytes, is_row_fault
from app.privacy import mask_phones
from app.stores.postgres.session import rendered

# A deferred constraint would speak up at the commit, where the row at fault cannot be told.
_IMMEDIATE = "SET CONSTRAINTS ALL IMMEDIATE"
_WRITES = "INSERT INTO botdata.writes SELECT %s, %s, unnest(%s::text[]) ON CONFLICT DO NOTHING"


class PageLoader:
    """Loads the pages of one table.

    Args:
        connection: to the target, in autocommit.
        run: the run's id in `botdata.runs`.
        most_refused: refused rows in the run past which the mistake is elsewhere.
        permit: asked before each commit whether the table may be written still; None: the caller asks.
        was_empty: nothing was there when the run came to the table, so that its rows are expected to be new.
    """

    def __init__(
        self,
        connection: AsyncConnection,
        table: CopyTable,
        run: int,
        *,
        most_refused: int,
        permit: Permit | None = None,
        was_empty: bool = False,
    ) -> None:
        self._connection = connection
        self._table = table
        self._run = run
        self._most_refused = most_refused
        self._permit = permit
        self._insert = rendered(statements.insert_page(table)) if was_empty else None
        self._load = rendered(statements.load_page(table))
        self._delete = rendered(statements.delete_changed(table)) if table.replaces_rows else None
        self._piece: int | None = None  # rows to begin with, where the page before had refused ones

    async def load(self, page: Page, *, checkpoint: bool = True) -> Loaded:
        """Load a page, whole or (where the target refuses rows) without those, and move the checkpoint behind it.

        Args:
            checkpoint: False for rows fetched by key, which say nothing about how far the table is.

        Raises:
            psycopg.Error: the target failed; nothing of the page is in.
            UnavailableError: the page is not JSON: it was cut or garbled on its way.
            MigrationError: more rows were refused than `most_refused`.
        """
        return await repeated(lambda: self._load_page(page, checkpoint))

    async def _load_page(self, page: Page, checkpoint: bool) -> Loaded:
        await ensure_refusal(self._connection, self._table)
        if self._insert is not None and (loaded := await self._insert_new(self._insert, page, checkpoint)):
            return loaded
        async with self._connection.transaction():
            await self._connection.execute(_IMMEDIATE)
            loaded = await self._whole(page.body) if self._piece is None else None
            if loaded is None:
                loaded = await self._in_pieces(page)
            await self._record(page, loaded, checkpoint)
        return loaded

    async def _insert_new(self, insert: str, page: Page, checkpoint: bool) -> Loaded | None:
        """Load a page of rows that are all new; None, and no page is tried so again, where one is there or refused."""
        loaded = None
        async with self._connection.transaction():
            await self._connection.execute(_IMMEDIATE)
            try:
                cursor = await self._connection.execute(insert, [JsonBytes(page.body)])
            except psycopg.Error as error:
                if not is_row_fault(error):
                    raise
                self._insert = None
                raise psycopg.Rollback from error
            row = await cursor.fetchone()
            assert row is not None
            loaded = Loaded(inserted=row[0], transactions={row[1]})
            await self._record(page, loaded, checkpoint)
        return loaded

    async def _record(self, page: Page, loaded: Loaded, checkpoint: bool) -> None:
        loaded.rows = page.rows
        last_key = page.last_key if checkpoint else None
        await add_to_checkpoint(self._connection, self._run, self._table, loaded, last_key=last_key)
        await record_writes(self._connection, self._run, self._table, loaded.transactions)
        if self._permit is not None:
            await self._permit.confirm(self._connection, self._table.name)

    async def _whole(self, body: bytes) -> Loaded | None:
        """The counts; None where a row is at fault, or a key is there twice (rolled back to before the page)."""
        parameters = [JsonBytes(body)]
        try:
            async with self._connection.transaction():
                replaced = 0
                if not self._table.has_only:
                    await self._connection.execute(statements.create_marks())
                if self._delete is not None:
                    replaced = (await self._connection.execute(self._delete, parameters)).rowcount
                cursor = await self._connection.execute(self._load, parameters)
                row = await cursor.fetchone()
                assert row is not None
                if row[3]:
                    raise psycopg.errors.CardinalityViolation
                return Loaded(inserted=row[0] - replaced, updated=row[1] + replaced, transactions=set(row[2]))
        except psycopg.Error as error:
            if not is_row_fault(error):
                raise
            return None

    async def _in_pieces(self, page: Page) -> Loaded:
        try:
            staging, rows = await stage_page(self._connection, self._table, page.body)
        except psycopg.Error as error:
            if not is_row_fault(error):
                raise
            raise UnavailableError("a page from the source is not whole JSON") from error
        loaded = await load_staged(
            self._connection,
            self._table,
            self._run,
            most_refused=self._most_refused,
            staging=staging,
            low=1,
            high=rows,
            piece=self._piece or rows,
        )
        self._piece = first_piece(rows, len(loaded.refused)) if loaded.refused else None
        return loaded


async def load_staged(
    connection: AsyncConnection,
    table: CopyTable,
    run: int,
    *,
    most_refused: int,
    staging: str = "staging",
    low: int,
    high: int,
    piece: int = LARGEST_PIECE,
) -> Loaded:
    """Load rows that wait in a temporary table, and put those that the target refuses into quarantine.

    Runs in the caller's transaction, which has made its constraints immediate and records the transactions.

    Args:
        staging: a temporary table with an index on `number_column(table)`, the rows' numbers, and with the table's
            columns, as text or of the source's types.
        low, high: the first and the last number to load.
        piece: rows of the first try.

    Raises:
        psycopg.Error: the target failed.
        MigrationError: more rows were refused than `most_refused`.
    """
    repeated = await take_repeated(connection, table, staging)
    outcome = await load_rows(connection, table, staging, low=low, high=high, piece=piece, most=most_refused + 1)
    loaded = Loaded(outcome.inserted, outcome.updated, high - low + 1, set(outcome.transactions))
    if repeated:
        await put_back(connection, table, staging, repeated)
    faults = outcome.faults + repeated
    if faults:
        loaded.refused = await _set_aside(connection, table, run, staging, faults)
        cursor = await connection.execute("SELECT count(*) FROM botdata.quarantine WHERE run_id = %s", [run])
        count = await cursor.fetchone()
        assert count is not None
        if max(count[0], len(faults)) > most_refused:
            raise _too_many(table, faults[-1], most_refused)
    return loaded


async def record_writes(connection: AsyncConnection, run: int, table: CopyTable, transactions: set[str]) -> None:
    """Remember the transactions that wrote rows of a table: those rows are ours."""
    await connection.execute(_WRITES, [run, table.name, list(transactions)])


async def _set_aside(
    connection: AsyncConnection, table: CopyTable, run: int, staging: str, faults: tuple[Fault, ...]
) -> list[Refusal]:
    """Put refused rows into quarantine, as the source sent them; of a key that is there twice, the last."""
    texts = sql.SQL(", ").join(sql.SQL("s.{0}::text AS {0}").format(sql.Identifier(name)) for name in table.names)
    key = sql.SQL(", ").join(sql.SQL("s.{}::text").format(sql.Identifier(column.name)) for column in table.key)
    cursor = await connection.execute(
        sql.SQL(
            "INSERT INTO botdata.quarantine (run_id, table_name, key, row_text, sqlstate, message, place) "
            "SELECT %s, %s, key, row_text, sqlstate, message, place FROM (SELECT DISTINCT ON (ARRAY[{key}]) f.*, "
            "ARRAY[{key}] AS key, (SELECT row_to_json(v.*) FROM (SELECT {texts}) v) AS row_text "
            "FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[]) AS f (number, sqlstate, message, place) "
            "JOIN pg_temp.{staging} s ON s.{number} = f.number ORDER BY ARRAY[{key}], f.number DESC) refused "
            "ORDER BY number ON CONFLICT (table_name, key) DO UPDATE SET run_id = excluded.run_id, "
            "row_text = excluded.row_text, sqlstate = excluded.sqlstate, message = excluded.message, "
            "place = excluded.place, refused_at = now() RETURNING key, sqlstate, place"
        ).format(key=key, texts=texts, staging=sql.Identifier(staging), number=sql.Identifier(number_column(table))),
        [
            run,
            table.name,
            [fault.number for fault in faults],
            [fault.sqlstate for fault in faults],
            [fault.message for fault in faults],
            [fault.place for fault in faults],
        ],
    )
    mask = mask_phones if table.key_holds_phone else str
    return [
        Refusal(table.name, tuple(map(mask, key)), sqlstate, place) for key, sqlstate, place in await cursor.fetchall()
    ]


def _too_many(table: CopyTable, last: Fault, most_refused: int) -> MigrationError:
    place = f" ({last.place})" if last.place else ""
    return MigrationError(
        f"the target refuses more than {most_refused} rows, the last one with SQLSTATE {last.sqlstate}{place}: "
        "the mistake is likely not in the rows",
        step="copy",
        table=table.name,
        pending=f"the rest of {table.name}, from the last checkpoint on",
        next_command="botdata preflight, which compares the schemas, or a higher --max-quarantine; then: botdata copy",
    )
