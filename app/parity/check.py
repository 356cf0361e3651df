"""The whole check: open both stores, sample, ask, compare, and leave nothing behind."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from datetime import UTC, datetime

from app.data_layer import DataLayer
from app.data_layer.store_wiring import open_repository, open_supabase
from app.errors import AccessDeniedError, MigrationError, SchemaMismatchError, StoreError
from app.next_step import Command, NextStep
from app.parity.comparison import Comparison
from app.parity.reads import reading_calls
from app.parity.reserved_company import remove_reserved
from app.parity.samples import take_samples
from app.parity.writes import writing_calls
from app.settings import Settings
from app.state.cutover.stage import can_read_stage, read_stage_row
from app.stores.postgres.database import Database
from app.stores.supabase.client import SupabaseRest


async def check_parity(
    settings: Settings, *, size: int, writes: bool, notice: Callable[[str], None] = lambda message: None
) -> Comparison:
    """Ask both stores the same and compare the answers.

    Args:
        size: records of each table to sample at most.
        writes: the writing methods too, on a reserved made-up company that is removed again.

    Raises:
        SettingsError: one of the stores is not configured.
        MigrationError: a store cannot be sampled, or the reserved company's id is taken.
    """
    now = datetime.now(UTC)  # one "now" for both, so that stamps and upcoming appointments are alike
    async with open_stores(settings) as (rest, database):
        comparison = Comparison(
            DataLayer(await open_supabase(settings), settings, clock=lambda: now),
            DataLayer(await open_repository(settings), settings, clock=lambda: now),
        )
        try:
            with nullcontext() if writes else suppress(MigrationError):  # a taken id stops no check that only reads
                await remove_reserved(rest, database)
            comparison.stage_moves = await _stage_moves(database)
            notice("sampling both stores")
            samples = await take_samples(rest, database, size)
            notice("asking the reading methods")
            await comparison.run(reading_calls(samples), reading=True)
            if writes:
                notice("asking the writing methods, on a made-up company")
                try:
                    await comparison.run(writing_calls(), reading=False)
                finally:
                    await remove_reserved(rest, database)
        except StoreError as error:
            raise MigrationError(
                str(error), step="parity", pending="the rest of the check", next_step=_next_step(error)
            ) from error
        finally:
            await comparison.close()
    return comparison


async def _stage_moves(database: Database) -> bool:
    async with database.statements() as connection:
        return await can_read_stage(connection) and (await read_stage_row(connection)).managed


def _next_step(error: StoreError) -> NextStep:
    if isinstance(error, AccessDeniedError):
        return NextStep("correct SUPABASE_KEY or the role in DATABASE_URL, then: ", Command("parity"))
    if isinstance(error, SchemaMismatchError):
        return NextStep(Command("preflight"), ", which names all that is missing, then: ", Command("parity"))
    return NextStep(Command("parity"), ", when both stores answer")


@asynccontextmanager
async def open_stores(settings: Settings) -> AsyncIterator[tuple[SupabaseRest, Database]]:
    """Both stores, to be sampled; SettingsError where one is not configured."""
    target, url, key = settings.require_stores()
    database = Database(target, pool_size=1)
    try:
        async with await SupabaseRest.open(url, key) as rest:
            yield rest, database
    finally:
        await database.close()
