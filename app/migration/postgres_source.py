"""Rows from a PostgreSQL over a connection: the same pages of text as over REST, made by the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
from psycopg import AsyncConnection, sql

from app.database_url import libpq_url, shown_url
from app.driver_errors import without_values
from app.errors import SchemaMismatchError, StoreError, UnavailableError, error_for_sqlstate
from app.migration.pages import Limits, PageSize, read_page
from app.migration.source import VERSION, Key, Page
from app.migration.tables import CopyColumn, CopyTable
from app.migration.target import SESSION
from app.rest import alias

_KEYS_A_STATEMENT = 1000


class PostgresSource:
    """A Source on a PostgreSQL: a Supabase database, its session pooler, or any other.

    Made with `open_postgres_source`.
    """

    def __init__(self, connection: AsyncConnection, label: str, limits: Limits) -> None:
        self._connection = connection
        self._label = label
        self._limits = limits

    @property
    def label(self) -> str:
        """Host and database."""
        return self._label

    @property
    def setting(self) -> str:
        """The option that names it."""
        return "--source"

    async def count(self, table: CopyTable) -> int:
        """Exact number of rows."""
        ((rows,),) = await self._fetch(sql.SQL("SELECT count(*) FROM {}").format(table.identifier))
        return int(rows)

    async def has_versions(self, table: CopyTable) -> bool:
        """Whether the rows' xmin can be had: not where the source's table is a view."""
        try:
            await self._fetch(sql.SQL("SELECT xmin FROM {} LIMIT 0").format(table.identifier))
        except SchemaMismatchError:
            return False
        return True

    async def pages(self, table: CopyTable, *, after: Key | None = None, versions: bool = False) -> AsyncIterator[Page]:
        """All rows behind a key, in the order of the primary key as the source sorts it."""
        async for page in self._walk(table, table.columns, after, PageSize(self._limits), versions=versions):
            yield page

    async def key_pages(self, table: CopyTable, *, versions: bool = False) -> AsyncIterator[Page]:
        """The primary keys of all rows."""
        size = PageSize(Limits(page_rows=10 * self._limits.page_rows, page_bytes=self._limits.page_bytes))
        async for page in self._walk(table, table.key, None, size, versions=versions):
            yield page

    async def rows_by_key(
        self, table: CopyTable, keys: Sequence[Key], *, versions: bool = False
    ) -> AsyncIterator[Page]:
        """The rows of these keys that exist."""
        key = _key(table)
        for first in range(0, len(keys), _KEYS_A_STATEMENT):
            wanted = keys[first : first + _KEYS_A_STATEMENT]
            listed = sql.SQL(", ").join([_row_of_parameters(table)] * len(wanted))
            query = _page(table, table.columns, versions, sql.SQL("WHERE {} IN ({})").format(key, listed))
            if page := await self._page(table, query, [text for one in wanted for text in one]):
                yield page

    async def fetch(self, query: sql.Composed) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        return await self._fetch(query)

    async def stream(self, query: sql.Composed) -> AsyncIterator[bytes | bytearray | memoryview]:
        """The rows of a query in COPY's text format, piece by piece."""
        with _translated():
            async with (
                self._connection.cursor() as cursor,
                cursor.copy(sql.SQL("COPY ({}) TO STDOUT").format(query)) as copied,
            ):
                async for piece in copied:
                    yield piece

    async def _walk(
        self, table: CopyTable, columns: Sequence[CopyColumn], after: Key | None, size: PageSize, *, versions: bool
    ) -> AsyncIterator[Page]:
        key = _key(table)
        order = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.key)
        while True:
            behind = sql.SQL("WHERE {} > {}").format(key, _row_of_parameters(table)) if after else sql.SQL("")
            rest = sql.SQL("{} ORDER BY {} LIMIT {}").format(behind, order, sql.Literal(size.rows))
            page = await self._page(table, _page(table, columns, versions, rest), list(after or ()))
            if page is None:
                return
            size.learn(page)
            after = page.last_key
            yield page

    async def _page(self, table: CopyTable, query: sql.Composed, parameters: list[str]) -> Page | None:
        ((body,),) = await self._fetch(query, parameters)
        return read_page(body.encode(), table) if body is not None else None

    async def _fetch(self, query: sql.Composed, parameters: Sequence[str] | None = None) -> list[tuple[Any, ...]]:
        with _translated():
            return await (await self._connection.execute(query, parameters)).fetchall()


@asynccontextmanager
async def open_postgres_source(url: str, *, step: str, limits: Limits | None = None) -> AsyncIterator[PostgresSource]:
    """A source on a PostgreSQL, read-only.

    Args:
        url: as in --source.
        step: the name of the step, for `application_name`.

    Raises:
        SettingsError: not a PostgreSQL URL.
        StoreError: it cannot be reached, or refuses the login.
    """
    with _translated():
        connection = await AsyncConnection.connect(
            libpq_url(url, name="--source"),
            autocommit=True,
            connect_timeout=10,
            application_name=f"botdata {step}",
            prepare_threshold=None,
        )
    async with connection:
        with _translated():
            await connection.execute(SESSION)
            await connection.execute("SET default_transaction_read_only = on")
        yield PostgresSource(connection, shown_url(url), limits or Limits())


def _key(table: CopyTable) -> sql.Composed:
    return sql.SQL("({})").format(sql.SQL(", ").join(sql.Identifier(column.name) for column in table.key))


def _row_of_parameters(table: CopyTable) -> sql.Composed:
    """A row of parameters without types: PostgreSQL takes each as the type of the column it is compared with."""
    return sql.SQL("({})").format(sql.SQL(", ").join([sql.SQL("%s")] * table.key_size))


def _page(table: CopyTable, columns: Sequence[CopyColumn], versions: bool, rest: sql.Composed) -> sql.Composed:
    values = [
        sql.SQL("{}::text AS {}").format(sql.Identifier(column.name), sql.Identifier(alias(position)))
        for position, column in enumerate(columns)
    ]
    if versions:
        values.append(sql.SQL("{}::text AS {}").format(sql.Identifier(table.version), sql.Identifier(VERSION)))
    return sql.SQL("SELECT json_agg(page)::text FROM (SELECT {} FROM {} {}) page").format(
        sql.SQL(", ").join(values), table.identifier, rest
    )


@contextmanager
def _translated() -> Iterator[None]:
    """Turn driver errors into the tree of app.errors, by SQLSTATE, without values."""
    try:
        yield
    except psycopg.Error as error:
        if error.sqlstate is not None:
            place = error.diag.constraint_name or error.diag.column_name or error.diag.table_name
            translated: StoreError = error_for_sqlstate(error.sqlstate, detail=f" ({place})" if place else "")
        elif isinstance(error, psycopg.OperationalError):
            said = " ".join(str(error).split())  # libpq's own words: host, port, user and database, no password
            translated = UnavailableError(f"PostgreSQL cannot be reached, or the connection to it was lost: {said}")
        else:
            translated = StoreError("the driver could not carry out a statement")
        raise translated from without_values(error)
