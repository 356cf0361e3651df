"""Rows from a PostgreSQL over a connection: the same pages of text as over REST, made by the server."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from time import monotonic
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection, sql

from app.common.keys import Key
from app.common.schemas import Schemas, schemas_of
from app.errors import SchemaMismatchError
from app.migration.retry import Limits, patiently
from app.migration.sources.pace import Pace
from app.migration.sources.postgres.streams import pipe
from app.migration.sources.source import VERSION, Page, PageSize, key_of, read_page, records_of
from app.migration.tables.copy_table import CopyTable
from app.migration.tables.described_table import is_plain
from app.stores.postgres.database_url import source_label
from app.stores.postgres.session import begin_snapshot, connect, source_errors
from app.stores.supabase.grammar import alias

_Answer = TypeVar("_Answer")
_KEYS_A_STATEMENT = 1000


class PostgresSource:
    """A Source on a PostgreSQL: a Supabase database, one of its poolers, or any other.

    Made with `open_postgres_source`. Where its connection is lost, a read makes a new one and is tried again.

    Attributes:
        label: host and database, or the host of the Supabase project.
        setting: what names its address.
    """

    def __init__(
        self,
        connection: AsyncConnection,
        url: str,
        step: str,
        limits: Limits,
        on_retry: Callable[[str], None],
        pace: Pace | None = None,
        setting: str = "--source",
    ) -> None:
        self._connection = connection
        self.url = url
        self._step = step
        self.setting = setting
        self._in_snapshot = False
        self.label = source_label(url)
        self._has_only: dict[str, bool] = {}  # by table, see `own`
        self.pace = pace or Pace()
        self.limits = self.pace.limits(limits)
        self.on_retry = on_retry

    @property
    def schemas(self) -> Schemas:
        """The names of the schemas that its statements mean."""
        return schemas_of(self._connection)

    async def own(self, table: CopyTable) -> CopyTable:
        """The table as it is read here: with ONLY where both ends have a plain one, else with all that it shows.

        A partitioned table of the target takes the rows of all the tables that inherit from this one.
        """
        if table.name not in self._has_only:
            found = await self.fetch(is_plain(table))
            self._has_only[table.name] = bool(found and found[0][0])
        return replace(table, has_only=table.has_only and self._has_only[table.name])

    async def count(self, table: CopyTable) -> int:
        """Exact number of rows."""
        ((rows,),) = await self.fetch(sql.SQL("SELECT count(*) FROM {}").format((await self.own(table)).rows))
        return int(rows)

    async def connect(self) -> AsyncConnection:
        """Another read-only session at the source; the caller closes it."""
        with source_errors():
            return await connect(self.url, setting=self.setting, step=self._step, read_only=True)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[str]:
        """Everything read from here on is of one moment, for other sessions too that take the snapshot given.

        A connection lost meanwhile is not made anew: the snapshot ends with it.
        """
        await self.fetch(sql.SQL("SELECT"))  # makes the connection anew where it was lost before
        with source_errors():
            await begin_snapshot(self._connection)
            self._in_snapshot = True
        try:
            ((name,),) = await self.fetch(sql.SQL("SELECT pg_export_snapshot()"))
            yield name
        finally:
            self._in_snapshot = False
            with suppress(psycopg.Error):  # lost: the transaction has ended with it
                await self._connection.execute("ROLLBACK")

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    async def has_versions(self, table: CopyTable) -> bool:
        """Whether the rows' xmin can be had: not where the source's table is a view."""
        try:
            await self.fetch(sql.SQL("SELECT xmin FROM {} LIMIT 0").format((await self.own(table)).rows))
        except SchemaMismatchError:
            return False
        return True

    async def pages(self, table: CopyTable, *, after: Key | None = None, versions: bool = False) -> AsyncIterator[Page]:
        """All rows after a key, in the order of the primary key as the source sorts it."""
        size = PageSize(self.limits)
        order = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.key)
        while True:
            past = sql.SQL("WHERE {} > {}").format(_key(table), _row_of_parameters(table)) if after else sql.SQL("")
            rest = sql.SQL("{} ORDER BY {} LIMIT {}").format(past, order, sql.Literal(size.rows))
            query = _page(await self.own(table), versions, rest)
            page = await self._page(table, query, list(after or ()), kind=f"{len(table.columns)} columns")
            if page is None:
                return
            size.learn(page)
            after = page.last_key
            yield page

    async def rows_by_key(
        self, table: CopyTable, keys: Sequence[Key], *, versions: bool = False, listed: bool = False
    ) -> AsyncIterator[Page]:
        """The rows of these keys that exist; of keys that it listed itself, also those that an index does not find."""
        size = self.pace.most_rows(_KEYS_A_STATEMENT)
        for first in range(0, len(keys), size):
            wanted = keys[first : first + size]
            page = await self._of_keys(table, wanted, versions=versions)
            if page:
                yield page
            if listed and (page is None or page.rows < len(wanted)):
                found = {key_of(record, table) for record in records_of(page.body)} if page else set()
                rest = await self._by_text(table, [key for key in wanted if key not in found], versions=versions)
                if rest:
                    yield rest

    async def _of_keys(self, table: CopyTable, wanted: Sequence[Key], *, versions: bool) -> Page | None:
        listed = sql.SQL(", ").join([_row_of_parameters(table)] * len(wanted))
        rest = sql.SQL("WHERE {} IN ({})").format(_key(table), listed)
        query = _page(await self.own(table), versions, rest)
        return await self._page(table, query, [text for one in wanted for text in one])

    async def _by_text(self, table: CopyTable, wanted: Sequence[Key], *, versions: bool) -> Page | None:
        """The rows whose keys have these texts, byte for byte, by no index: it may be in a wrong order."""
        texts = sql.SQL(", ").join(
            sql.SQL("{}::text || '' COLLATE \"C\"").format(sql.Identifier(column.name)) for column in table.key
        )
        given = sql.SQL(", ").join([sql.SQL("%s::text[]")] * table.key_size)
        rest = sql.SQL("WHERE ({}) IN (SELECT * FROM unnest({}))").format(texts, given)
        query = _page(await self.own(table), versions, rest)
        return await self._page(table, query, [list(part) for part in zip(*wanted, strict=True)])

    async def pipe(
        self,
        query: sql.Composed,
        target: AsyncConnection,
        statement: sql.Composed,
        begin: Callable[[], Awaitable[None]],
        *,
        as_rows: bool = True,
    ) -> int:
        """Copy the rows of a query into the target; returns how many there were.

        Args:
            statement: COPY ... FROM STDIN, in text format.
            begin: makes what is copied into empty, before each try.
            as_rows: what comes counts as rows for the rate.
        """

        async def copy() -> int:
            if self._connection.closed and not self._in_snapshot:
                self._connection = await self.connect()
            await begin()
            rows = sql.SQL("COPY ({}) TO STDOUT").format(query)
            return await pipe(self._connection, rows, target, statement, self.pace, as_rows=as_rows)

        return await self._patiently(copy)

    async def fetch(self, query: sql.Composed | sql.SQL) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        return await self._patiently(lambda: self._execute(query, ()))

    async def stream(self, query: sql.Composed) -> AsyncIterator[bytes | bytearray | memoryview]:
        """The rows of a query in COPY's text format, row by row."""
        await self.pace.ready(in_snapshot=self._in_snapshot)
        with source_errors():
            async with (
                self._connection.cursor() as cursor,
                cursor.copy(sql.SQL("COPY ({}) TO STDOUT").format(query)) as copied,
            ):
                async for piece in copied:
                    await self.pace.hold_back(rows=1, size=len(piece))
                    yield piece

    async def _page(
        self, table: CopyTable, query: sql.Composed, parameters: Sequence[object], *, kind: str | None = None
    ) -> Page | None:
        """A page; `kind`: of an answer whose time is compared with others'."""

        async def ask() -> Page | None:
            began = monotonic()
            ((body,),) = await self._execute(query, parameters)
            page = read_page(body.encode(), table) if body is not None else None
            if page is not None:
                self.pace.count(rows=page.rows, size=len(page.body))
                if kind is not None:
                    self.pace.answered(table.name, kind, len(page.body), monotonic() - began)
            return page

        return await self._patiently(ask)

    async def _execute(self, query: sql.Composed | sql.SQL, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
        if self._connection.closed and not self._in_snapshot:
            self._connection = await self.connect()
        with source_errors():
            return await (await self._connection.execute(query, parameters or None)).fetchall()

    async def _patiently(self, ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """The answer, when the pace allows it; tried again where its failure can pass, but for one in a snapshot."""

        async def paced() -> _Answer:
            async with self.pace.request(in_snapshot=self._in_snapshot):
                return await ask()

        if self._in_snapshot:
            return await paced()
        return await patiently(paced, self.limits, self.on_retry, self.label)


@asynccontextmanager
async def open_postgres_source(
    url: str,
    *,
    step: str,
    limits: Limits | None = None,
    on_retry: Callable[[str], None] = lambda message: None,
    pace: Pace | None = None,
    setting: str = "--source",
) -> AsyncIterator[PostgresSource]:
    """A source on a PostgreSQL, read-only.

    Args:
        url: as in --source.
        step: the name of the step, for `application_name`.
        on_retry: called with a sentence each time that a read is to be tried again.
        pace: how much may be asked; None: as much as it gives.
        setting: what names the address.

    Raises:
        SettingsError: not a PostgreSQL URL.
        StoreError: it cannot be reached, or refuses the login.
    """
    with source_errors():
        connection = await connect(url, setting=setting, step=step, read_only=True)
    source = PostgresSource(connection, url, step, limits or Limits(), on_retry, pace, setting)
    try:
        yield source
    finally:
        await source.close()


def _key(table: CopyTable) -> sql.Composed:
    return sql.SQL("({})").format(sql.SQL(", ").join(sql.Identifier(column.name) for column in table.key))


def _row_of_parameters(table: CopyTable) -> sql.Composed:
    """A row of parameters without types: PostgreSQL takes each as the type of the column it is compared with."""
    return sql.SQL("({})").format(sql.SQL(", ").join([sql.SQL("%s")] * table.key_size))


def _page(table: CopyTable, versions: bool, rest: sql.Composed) -> sql.Composed:
    values = [
        sql.SQL("{}::text AS {}").format(sql.Identifier(column.name), sql.Identifier(alias(position)))
        for position, column in enumerate(table.columns)
    ]
    if versions:
        values.append(sql.SQL("{}::text AS {}").format(sql.Identifier(table.version), sql.Identifier(VERSION)))
    return sql.SQL("SELECT json_agg(page)::text FROM (SELECT {} FROM {} {}) page").format(
        sql.SQL(", ").join(values), table.rows, rest
    )
