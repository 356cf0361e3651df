"""What to ask about: samples of both stores' rows; and the made-up company that the writing methods are tried on."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import String, cast, func, select

from app import models
from app.common.schemas import DATA
from app.errors import MigrationError
from app.next_step import Command, NextStep
from app.stores.codec.rows import table_of
from app.stores.codec.text_values import RowDecoder
from app.stores.postgres.database import Database
from app.stores.supabase.client import SupabaseRest
from app.stores.supabase.grammar import alias, as_text

# Near the end of the integer range, where no YClients id is; also the id of its staff member.
COMPANY_ID = 2_147_480_021
TITLE = "botdata parity: made up, may be deleted"
USER_ID = f"botdata-parity-{COMPANY_ID}"

# The company's row goes last and comes first: while it is there, the rows of the others are known to be ours.
_OWNED: tuple[tuple[type[models.Base], str, object], ...] = (
    (models.DialogContext, "user_id", USER_ID),
    (models.StaffSchedule, "staff_id", COMPANY_ID),
    (models.Service, "company_id", COMPANY_ID),
    (models.Client, "company_id", COMPANY_ID),
    (models.Company, "company_id", COMPANY_ID),
)


async def remove_reserved(rest: SupabaseRest, database: Database) -> None:
    """Remove the company's rows from both stores, those of a killed run too.

    Raises:
        MigrationError: rows with its ids are there that no run of ours made; nothing was removed.
        StoreError: a store cannot be reached.
    """
    for store, held, title in (
        ("Supabase", await _held_by_supabase(rest), await _title_in_supabase(rest)),
        ("PostgreSQL", await _held_by_postgresql(database), await _title_in_postgresql(database)),
    ):
        if held and title != TITLE:
            raise MigrationError(
                f"{store} holds rows of company {COMPANY_ID}, which is reserved for this check, in: {', '.join(held)}",
                step="parity",
                pending="the writing methods; nothing was written",
                next_step=NextStep(Command("parity"), " (without --writes)"),
            )
    for model, column, value in _OWNED:
        table = table_of(model)
        await rest.send(rest.table(table.name).delete().eq(column, value), writing=True)
    async with database.transaction() as connection:
        for model, column, value in _OWNED:
            statement = f'DELETE FROM "{DATA}".{table_of(model).name} WHERE {column} = %(value)s'  # noqa: S608
            await connection.execute(statement, {"value": value})


async def _held_by_supabase(rest: SupabaseRest) -> list[str]:
    held = []
    for model, column, value in _OWNED:
        name = table_of(model).name
        if await rest.rows(rest.table(name).select(column).eq(column, value).limit(1)):
            held.append(name)
    return held


async def _title_in_supabase(rest: SupabaseRest) -> str | None:
    rows = await rest.rows(rest.table("companies").select("title").eq("company_id", COMPANY_ID).limit(1))
    return rows[0]["title"] if rows else None


async def _held_by_postgresql(database: Database) -> list[str]:
    return [
        table_of(model).name
        for model, column, value in _OWNED
        if await database.fetch(select(table_of(model).c[column]).where(table_of(model).c[column] == value).limit(1))
    ]


async def _title_in_postgresql(database: Database) -> str | None:
    table = table_of(models.Company)
    rows = await database.fetch(select(table.c.title).where(table.c.company_id == COMPANY_ID))
    return rows[0][0] if rows else None


SampledRow = dict[str, Any]

# The columns that the calls of app.parity.reads take their arguments from.
_SAMPLED: dict[type[models.Base], tuple[str, ...]] = {
    models.Company: ("company_id",),
    models.Client: ("yclients_id", "company_id", "phone", "name"),
    models.Service: ("yclients_id", "company_id", "category_id"),
    models.Staff: ("yclients_id", "company_id"),
    models.StaffSchedule: ("staff_id", "date", "staff_name"),
    models.Booking: ("client_yclients_id", "company_id"),
    models.DialogContext: ("user_id",),
}


class Samples:
    """Records by model, at most some of each, without repetitions."""

    def __init__(self, records: dict[type[models.Base], list[SampledRow]]) -> None:
        self._records = records

    def of(self, model: type[models.Base], *needed: str) -> list[SampledRow]:
        """The records in which none of the needed columns is NULL."""
        return [record for record in self._records[model] if all(record[name] is not None for name in needed)]

    def values(self, model: type[models.Base], column: str) -> list[Any]:
        """The distinct values of a column, NULL left out."""
        return list(dict.fromkeys(record[column] for record in self.of(model, column)))


async def take_samples(rest: SupabaseRest, database: Database, size: int) -> Samples:
    """Sample each table: some rows anywhere in PostgreSQL, and Supabase's first and last ones.

    Args:
        size: records of a table at most.

    Raises:
        StoreError: a store cannot be read.
    """
    records = {}
    for model, names in _SAMPLED.items():
        found = [
            *await _from_postgresql(database, model, names, size // 2),
            *await _from_supabase(rest, model, names, (size + 3) // 4),
        ]
        records[model] = list({tuple(record.values()): record for record in found if not _is_reserved(record)}.values())
    return Samples(records)


def _is_reserved(record: SampledRow) -> bool:
    """Whether it is left from a killed check of the writing methods: each store gave such rows ids of its own."""
    return not {COMPANY_ID, USER_ID}.isdisjoint(record.values())


async def _from_postgresql(
    database: Database, model: type[models.Base], names: Sequence[str], size: int
) -> list[SampledRow]:
    table = table_of(model)
    anywhere = func.md5(cast(table.primary_key.columns[0], String))
    rows = await database.fetch(select(*[table.c[name] for name in names]).order_by(anywhere).limit(size))
    return [dict(zip(names, row, strict=True)) for row in rows]


async def _from_supabase(
    rest: SupabaseRest, model: type[models.Base], names: Sequence[str], size: int
) -> list[SampledRow]:
    table = table_of(model)
    decoder = RowDecoder([table.c[name] for name in names])
    key = table.primary_key.columns[0].name
    records = []
    for descending in (False, True):
        builder = rest.table(table.name).select(as_text(names)).order(key, desc=descending).limit(size)
        for row in await rest.rows(builder):
            texts = {name: row[alias(position)] for position, name in enumerate(names)}
            records.append(dict(zip(names, decoder.decode(texts), strict=True)))
    return records
