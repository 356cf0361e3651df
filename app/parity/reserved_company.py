"""The made-up company that the writing methods are tried on: its ids, and the removal of its rows."""

from sqlalchemy import select

from app import models
from app.common.schemas import DATA
from app.errors import MigrationError
from app.next_step import Command, NextStep
from app.stores.codec.rows import table_of
from app.stores.postgres.database import Database
from app.stores.supabase.client import SupabaseRest

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
