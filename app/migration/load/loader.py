"""Loading rows into the target: in one transaction with their checkpoint, refused rows found and set aside."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg import AsyncConnection, sql

from app.common.keys import Key
from app.errors import MigrationError
from app.migration.load import statements
from app.migration.load.bisection import (
    LARGEST_PIECE,
    Fault,
    first_piece,
    load_rows,
    number_column,
    stage_page,
    waiting_key,
)
from app.migration.load.table_authority import Permit
from app.migration.retry import repeated
from app.migration.runs.report import Loaded, Refusal, refusals_of
from app.migration.sources.source import Page
from app.migration.tables.copy_table import CopyTable
from app.migration.target.interference import loading
from app.migration.target.target_session import as_json, is_row_fault
from app.next_step import Command, NextStep
from app.state.fetching import fetch_column, fetch_row, fetch_rows
from app.state.runs import checkpoints, quarantine, writes
from app.stores.postgres.cursors import rendered

# A deferred constraint would speak up at the commit, where the row at fault cannot be told.
_IMMEDIATE = "SET CONSTRAINTS ALL IMMEDIATE"
_WITH_OPTION = ("copy", "sync")  # commands that take --max-quarantine


# The SQLSTATE that PostgreSQL itself has for the same key twice in one statement.
REPEATED = "21000"
_SEVERAL = "the source has several rows of this key that differ"


class PageLoader:
    """Loads the pages of one table.

    Args:
        connection: to the target, in autocommit.
        run: the run's id in `botdata.runs`.
        step: the command that loads, for its errors.
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
        step: str,
        most_refused: int,
        permit: Permit | None = None,
        was_empty: bool = False,
    ) -> None:
        self._connection = connection
        self._table = table
        self._run = run
        self._step = step
        self._most_refused = most_refused
        self._permit = permit
        self._insert = rendered(statements.insert_page(table)) if was_empty else None
        self._load = rendered(statements.load_page(table))
        self._delete = rendered(statements.delete_changed(table)) if table.replaces_rows else None
        self._piece: int | None = None  # rows to begin with, where the page before had refused ones

    async def load(self, page: Page, *, checkpoint: bool = True) -> Loaded:
        """Load a page, whole or (where the target refuses rows) without those, and move the checkpoint to its end.

        Args:
            checkpoint: False for rows fetched by key, which say nothing about how far the table is.

        Raises:
            psycopg.Error: the target failed; nothing of the page is in.
            UnavailableError: the page is not JSON: it was cut or garbled on its way.
            MigrationError: more rows were refused than `most_refused`.
        """
        return await repeated(lambda: self._load_page(page, checkpoint))

    async def _load_page(self, page: Page, checkpoint: bool) -> Loaded:
        await statements.ensure_refusal(self._connection, self._table)
        if self._insert is not None and (loaded := await self._insert_new(self._insert, page, checkpoint)):
            return loaded
        async with self._transaction():
            loaded = await self._whole(page.body) if self._piece is None else None
            if loaded is None:
                loaded = await self._in_pieces(page)
            await self._record(page, loaded, checkpoint)
        return loaded

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[None]:
        async with self._connection.transaction(), loading(self._connection, self._run, self._table):
            await self._connection.execute(_IMMEDIATE)
            yield

    async def _insert_new(self, insert: str, page: Page, checkpoint: bool) -> Loaded | None:
        """Load a page of rows that are all new; None, and no page is tried so again, where one is there or refused."""
        loaded = None
        async with self._transaction():
            try:
                inserted, transaction = await fetch_row(self._connection, insert, [as_json(page.body)])
            except psycopg.Error as error:
                if not is_row_fault(error):
                    raise
                self._insert = None
                raise psycopg.Rollback from error
            loaded = Loaded(inserted=inserted, transactions={transaction})
            await self._record(page, loaded, checkpoint)
        return loaded

    async def _record(self, page: Page, loaded: Loaded, checkpoint: bool) -> None:
        loaded.rows = page.rows
        last_key = page.last_key if checkpoint else None
        await record_loaded(self._connection, self._run, self._table.name, loaded, last_key=last_key)
        if self._permit is not None:
            await self._permit.confirm(self._connection, self._table.name)

    async def _whole(self, body: bytes) -> Loaded | None:
        """The counts; None where a row is at fault, or a key is there twice (rolled back to before the page)."""
        parameters = [as_json(body)]
        try:
            async with self._connection.transaction():
                replaced = 0
                if not self._table.has_only:
                    await self._connection.execute(statements.create_marks())
                if self._delete is not None:
                    replaced = (await self._connection.execute(self._delete, parameters)).rowcount
                inserted, updated, xids, has_repeated = await fetch_row(self._connection, self._load, parameters)
                if has_repeated:
                    raise psycopg.errors.CardinalityViolation
                return Loaded(inserted=inserted - replaced, updated=updated + replaced, transactions=set(xids))
        except psycopg.Error as error:
            if not is_row_fault(error):
                raise
            return None

    async def _in_pieces(self, page: Page) -> Loaded:
        staging, rows = await stage_page(self._connection, self._table, page.body)
        loaded = await load_staged(
            self._connection,
            self._table,
            self._run,
            step=self._step,
            most_refused=self._most_refused,
            staging=staging,
            rows=rows,
            piece=self._piece or rows,
        )
        self._piece = first_piece(rows, len(loaded.refused)) if loaded.refused else None
        return loaded


async def load_staged(
    connection: AsyncConnection,
    table: CopyTable,
    run: int,
    *,
    step: str,
    most_refused: int,
    staging: str,
    rows: int,
    piece: int = LARGEST_PIECE,
) -> Loaded:
    """Load rows that wait in a temporary table, and put those that the target refuses into quarantine.

    Runs in the caller's transaction, which has made its constraints immediate and records the transactions.

    Args:
        step: the command that loads, for its errors.
        staging: a temporary table with an index on `number_column(table)`, the rows' numbers, and with the table's
            columns, as text or of the source's types.
        rows: how many there are, numbered from 1.
        piece: rows of the first try.

    Raises:
        psycopg.Error: the target failed.
        MigrationError: more rows were refused than `most_refused`.
    """
    repeated = await _take_repeated(connection, table, staging) if table.key else ()
    loaded, faults = await load_rows(connection, table, staging, rows, piece=piece, most=most_refused + 1)
    if repeated:
        await _put_back(connection, table, staging, repeated)
    faults += repeated
    if faults:
        loaded.refused = await _set_aside(connection, table, run, staging, faults)
        if max(await quarantine.count_rows(connection, run), len(faults)) > most_refused:
            raise _too_many(table, faults[-1], most_refused, step)
    return loaded


async def _take_repeated(connection: AsyncConnection, table: CopyTable, staging: str) -> tuple[Fault, ...]:
    """Take the later rows of a key out of a temporary table; gives those that differ from its first row.

    Their numbers are negative in it until they are put back, so that they are not loaded. A row that is the same in
    every column is nothing that could be lost.
    """
    number = sql.Identifier(number_column(table))
    key = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.key)
    names = {"staging": sql.Identifier("pg_temp", staging), "number": number, "key": key}
    repeated = sql.SQL("SELECT min({number}) FROM {staging} GROUP BY {key} HAVING count(*) > 1").format(**names)
    first = await fetch_column(connection, repeated)
    if not first:
        return ()
    same = sql.SQL(" AND ").join(sql.SQL("s.{0} = f.{0}").format(sql.Identifier(column.name)) for column in table.key)
    differs = sql.SQL(" OR ").join(
        sql.SQL("s.{0}::text IS DISTINCT FROM f.{0}::text").format(sql.Identifier(name)) for name in table.names
    )
    taken = await fetch_rows(
        connection,
        sql.SQL(
            "UPDATE {staging} s SET {number} = -s.{number} FROM {staging} f WHERE f.{number} = ANY (%s) "
            "AND {same} AND s.{number} > f.{number} RETURNING -s.{number}, {differs}"
        ).format(same=same, differs=differs, **names),
        [first],
    )
    return tuple(Fault(position, REPEATED, _SEVERAL, None) for position, is_other in sorted(taken) if is_other)


async def _put_back(connection: AsyncConnection, table: CopyTable, staging: str, faults: tuple[Fault, ...]) -> None:
    """Give such rows their numbers again, after the others are loaded."""
    await connection.execute(
        sql.SQL("UPDATE {0} SET {1} = -{1} WHERE {1} = ANY (%s)").format(
            sql.Identifier("pg_temp", staging), sql.Identifier(number_column(table))
        ),
        [[-fault.number for fault in faults]],
    )


async def record_loaded(
    connection: AsyncConnection, run: int, table: str, loaded: Loaded, *, last_key: Key | None = None
) -> None:
    """Count what was loaded in the table's checkpoint, and remember whose rows these are; in the same transaction.

    Args:
        last_key: up to which the table is done now; None: it is no further.
    """
    await checkpoints.add_to_checkpoint(
        connection,
        run,
        table,
        inserted=loaded.inserted,
        updated=loaded.updated,
        unchanged=loaded.unchanged,
        last_key=last_key,
    )
    await writes.record_writes(connection, run, table, loaded.transactions)


async def _set_aside(
    connection: AsyncConnection, table: CopyTable, run: int, staging: str, faults: tuple[Fault, ...]
) -> list[Refusal]:
    """Put refused rows into quarantine, as the source sent them; PostgreSQL's words may quote values."""
    if table.keys_only:
        faults = tuple(fault._replace(message="") for fault in faults)
    rows = await quarantine.set_aside(
        connection,
        run,
        table.name,
        sql.Identifier("pg_temp", staging),
        faults,
        number=sql.Identifier(number_column(table)),
        key=waiting_key(table),
        texts=statements.listed(sql.SQL("s.{0}::text AS {0}").format(sql.Identifier(name)) for name in table.kept),
    )
    return list(refusals_of(table, rows))


def _too_many(table: CopyTable, last: Fault, most_refused: int, step: str) -> MigrationError:
    place = f" ({last.place})" if last.place else ""
    more = ", or a higher --max-quarantine" if step in _WITH_OPTION else ""
    return MigrationError(
        f"the target refuses more than {most_refused} rows, the last one with SQLSTATE {last.sqlstate}{place}: "
        "the mistake is likely not in the rows",
        step=step,
        table=table.name,
        pending=f"the rest of {table.name}" + (", from the last checkpoint on" if step == "copy" else ""),
        next_step=NextStep(Command("preflight"), f", which compares the schemas{more}; then: ", Command(step)),
    )
