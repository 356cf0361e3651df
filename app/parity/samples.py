"""Samples of both stores' rows, for the reading methods to be asked about."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import String, cast, func, select

from app import models
from app.parity.reserved_company import COMPANY_ID, USER_ID
from app.stores.codec.rows import table_of
from app.stores.codec.text_values import RowDecoder
from app.stores.postgres.database import Database
from app.stores.supabase.client import SupabaseRest
from app.stores.supabase.grammar import alias, as_text

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
