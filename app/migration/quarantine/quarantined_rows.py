"""The rows that the target refused, as they are kept: which there are, why, and what is in one."""

from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from dataclasses import dataclass

from psycopg import AsyncConnection
from sqlalchemy import MetaData

from app.common.keys import Key
from app.errors import MigrationError
from app.migration.tables.copy_table import key_columns, name_of
from app.migration.tables.metadata import find_table
from app.migration.target.target_session import explained, open_target
from app.next_step import Command, NextStep
from app.privacy import mask_phones
from app.state.runs import quarantine

_ONLY_READS = "nothing is changed by it"


@dataclass(frozen=True, slots=True)
class ListedRow:
    """A row in quarantine without its values; phone numbers in its key are masked.

    Attributes:
        number: names the row in commands.
        key: the primary key as text.
        sqlstate, place: PostgreSQL's reason; a place is a constraint or column.
        refused_at: in UTC, to the second, as ISO 8601.
    """

    number: int
    table: str
    key: Key
    sqlstate: str
    place: str | None
    refused_at: str


@dataclass(frozen=True, slots=True)
class RefusedRow(ListedRow):
    """A row in quarantine, with its values, and its key as it is.

    Attributes:
        message: PostgreSQL's own, which may quote values.
        row: each column's text as the source sent it, None for NULL.
    """

    message: str
    row: dict[str, str | None]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why rows of a table were refused, and how many."""

    table: str
    sqlstate: str
    place: str | None
    rows: int


@dataclass(frozen=True, slots=True)
class QuarantineList:
    """What is in quarantine: all reasons, and the first rows.

    Attributes:
        total: how many rows there are, the ones not listed included.
    """

    total: int
    reasons: tuple[Reason, ...]
    rows: tuple[ListedRow, ...]


def holds_phone(metadata: MetaData, table: str) -> bool:
    """Whether the key of a table may hold phone numbers; also where the MetaData does not know the table."""
    known = next((one for one in metadata.tables.values() if name_of(one) == table), None)
    if known is None:
        return True
    key = key_columns(known) or known.columns.keys()  # without one in the model, it may be any
    return any(known.columns[name].info.get("phone") for name in key)


async def list_quarantine(
    target_url: str, metadata: MetaData, *, tables: Collection[str] | None = None, limit: int
) -> QuarantineList:
    """The rows in quarantine, of some tables or of all; empty too where the tool has never been at work.

    Raises:
        MigrationError: the target cannot be read, or a table is neither in the MetaData nor in quarantine.
    """
    step = "quarantine list"
    async with open_target(target_url, step=step) as connection:
        with explained(step, pending=_ONLY_READS):
            wanted = await choose_tables(connection, metadata, tables, step=step)
            if not await quarantine.exists(connection):
                return QuarantineList(0, (), ())
            reasons = tuple(Reason(*row) for row in await quarantine.count_by_reason(connection, wanted))
            rows = tuple(
                ListedRow(number, table, masked(metadata, table, key), *rest)
                for number, table, key, *rest in await quarantine.first_rows(connection, wanted, limit)
            )
    return QuarantineList(sum(reason.rows for reason in reasons), reasons, rows)


async def show_quarantined(target_url: str, number: int) -> RefusedRow:
    """One row with its values.

    Raises:
        MigrationError: the target cannot be read, or there is no such row.
    """
    step = "quarantine show"
    async with open_target(target_url, step=step) as connection:
        with explained(step, pending=_ONLY_READS):
            async with aclosing(read_rows(connection, numbers=[number])) as rows:
                async for row in rows:
                    return row
    raise unknown_numbers([number], step=step)


async def read_rows(
    connection: AsyncConnection, *, numbers: list[int] | None = None, tables: list[str] | None = None
) -> AsyncGenerator[RefusedRow, None]:
    """Rows in quarantine with their values, a few at a time; none where the tool has never been at work."""
    if not await quarantine.exists(connection):
        return
    async with aclosing(quarantine.read_rows(connection, numbers, tables)) as rows:
        async for number, table, key, sqlstate, message, place, refused_at, row in rows:
            yield RefusedRow(number, table, tuple(key), sqlstate, place, refused_at, message, row)


async def choose_tables(
    connection: AsyncConnection, metadata: MetaData, names: Collection[str] | None, *, step: str
) -> list[str] | None:
    """The tables' names, each known to the MetaData or with rows in quarantine; None stands for all tables.

    A table that one schema alone has may be given without it, as in `select_tables`.

    Raises:
        MigrationError: lists the names that are neither.
    """
    if names is None:
        return None
    by_name = {name_of(table): table for table in metadata.tables.values()}
    known = set(by_name)
    if await quarantine.exists(connection):
        known |= await quarantine.table_names(connection)
    found = {name if name in known or (one := find_table(name, by_name)) is None else name_of(one) for name in names}
    if unknown := sorted(found - known):
        raise MigrationError(
            f"no such table: {', '.join(unknown)}; the tables are {', '.join(sorted(known))}",
            step=step,
            pending="everything; nothing was read or written",
            next_step=NextStep(Command(step), ", with --tables of these, or --metadata for another project's"),
        )
    return sorted(found)


def unknown_numbers(numbers: Collection[int], *, step: str) -> MigrationError:
    """The error for rows that are not in quarantine, or not any more."""
    return MigrationError(
        f"not in quarantine: {', '.join(map(str, sorted(numbers)))}",
        step=step,
        pending="everything; nothing was read or written",
        next_step=NextStep(Command("quarantine list")),
    )


def masked(metadata: MetaData, table: str, key: Collection[str]) -> Key:
    """A row's key for people."""
    return tuple(map(mask_phones, key)) if holds_phone(metadata, table) else tuple(key)
