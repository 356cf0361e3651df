"""Gate: a gap between the ids of the two stores, the target's sequences being far past the source's highest ids."""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import AsyncConnection, sql
from sqlalchemy import Table

from app.common.schemas import schemas_of
from app.cutover.moves.gates.objection import Objection
from app.cutover.moves.stage_row import UNCHANGED, open_cutover
from app.errors import BotdataError
from app.migration.retry import Limits
from app.migration.sources.rest.rest_source import RestSource
from app.migration.tables.copy_table import identifier_of, named
from app.models import Base
from app.settings import Settings
from app.state.cutover.stage import read_stage_row, refuse_moved_out
from app.state.fetching import fetch_row, fetch_rows
from app.stores.supabase.client import SupabaseRest
from app.stores.supabase.grammar import quoted_name

_LIMITS = Limits(attempts=3)
# Where nextval has not been called, last_value is what it gives; an id has to fit the column and the sequence.
_SEQUENCES = """
SELECT a.attname, s.oid::regclass::text, least(q.seqmax, CASE a.atttypid WHEN 'int2'::regtype THEN 32767
    WHEN 'int4'::regtype THEN 2147483647 ELSE q.seqmax END)
FROM pg_attribute a JOIN pg_class s ON s.oid = pg_get_serial_sequence(%(table)s, a.attname)::regclass
JOIN pg_sequence q ON q.seqrelid = s.oid
WHERE a.attrelid = to_regclass(%(table)s) AND a.attnum > 0 AND NOT a.attisdropped
"""


@dataclass(frozen=True, slots=True)
class Gap:
    """A sequence of the target, beside the ids of both stores.

    Attributes:
        sequence: its quoted name.
        next_id: the id that it gives out next.
        highest: the highest id of either store.
        source_highest: the highest id of Supabase.
        last_id: the highest id that it and its column can hold.
    """

    table: str
    column: str
    sequence: str
    next_id: int
    highest: int
    source_highest: int
    last_id: int

    @property
    def clash(self) -> str:
        """What would come of it where it is not safe."""
        return (
            f"{self.table}.{self.column}: the next id of PostgreSQL is {self.next_id:,}, and Supabase is at "
            f"{self.source_highest:,}: the two would give out the same ids"
        )

    def is_safe(self, gap: int) -> bool:
        """Whether Supabase has half the gap left to itself, and PostgreSQL ids to give out."""
        return self.source_highest + gap // 2 < self.next_id <= self.last_id

    def overflows(self, gap: int) -> bool:
        """Whether the sequence cannot be raised past the gap, or has less than another gap left behind it."""
        return not self.is_safe(gap) and self.highest + 2 * gap > self.last_id


async def read_gaps(connection: AsyncConnection, settings: Settings) -> list[Gap]:
    """Every sequence of the business tables.

    Raises:
        StoreError: Supabase does not answer.
        SettingsError: it is not named.
    """
    url, key = settings.require_supabase()
    tables = [table for table in Base.metadata.sorted_tables if table.info["group"] == "business"]
    async with await SupabaseRest.open(url, key, request_timeout=30.0) as rest:
        source = RestSource(rest, url, limits=_LIMITS)
        return [gap for table in tables for gap in await _gaps(connection, source, table)]


async def raise_sequences(settings: Settings, *, step: str = "cutover advance") -> list[Gap]:
    """Raise the sequences that are not safe; those that were raised. None is ever lowered.

    Raises:
        MigrationError: the target cannot be read, or the role may not set a sequence.
        StoreError: Supabase does not answer.
    """
    gap = settings.cutover_id_gap
    async with open_cutover(settings.require_database_url(), step) as connection:
        refuse_moved_out(await read_stage_row(connection), schemas_of(connection), step=step, pending=UNCHANGED)
        unsafe = [
            one for one in await read_gaps(connection, settings) if not one.is_safe(gap) and not one.overflows(gap)
        ]
        for one in unsafe:
            await connection.execute(
                sql.SQL(
                    "SELECT setval({name}, {value}, false) FROM {sequence} s "
                    "WHERE {value} > CASE WHEN s.is_called THEN s.last_value ELSE s.last_value - 1 END"
                ).format(
                    name=sql.Literal(one.sequence),
                    value=sql.Literal(one.highest + gap),
                    sequence=sql.SQL(one.sequence),
                )
            )
    return unsafe


async def _gaps(connection: AsyncConnection, source: RestSource, table: Table) -> list[Gap]:
    identifier = identifier_of(table)
    gaps = []
    for column, sequence, last_id in await fetch_rows(connection, _SEQUENCES, {"table": named(connection, identifier)}):
        theirs = await _highest_at_source(source, table.name, column)
        query = sql.SQL(
            "SELECT CASE WHEN is_called THEN last_value + 1 ELSE last_value END, (SELECT max({}) FROM {}) FROM {}"
        ).format(sql.Identifier(column), identifier, sql.SQL(sequence))
        next_id, ours = await fetch_row(connection, query)
        gaps.append(Gap(table.name, column, sequence, next_id, max(theirs, ours or 0), theirs, last_id))
    return gaps


async def _highest_at_source(source: RestSource, table: str, column: str) -> int:
    name = quoted_name(column)

    async def ask() -> Sequence[dict[str, str | None]]:
        builder = source.rest.table(table).select(f"_0:{name}::text").order(name, desc=True, nullsfirst=False).limit(1)
        return await source.rest.rows(builder)

    rows = await source.patiently(ask)
    return int(rows[0]["_0"] or 0) if rows else 0


async def sequences(connection: AsyncConnection, settings: Settings) -> list[Objection]:
    """Sequences that may give out an id that Supabase has, or will have."""
    try:
        gaps = await read_gaps(connection, settings)
    except BotdataError as error:
        return [Objection(f"the highest ids of Supabase could not be read: {error}", "botdata preflight")]
    gap = settings.cutover_id_gap
    return [_objection(one, gap) for one in gaps if not one.is_safe(gap)]


def _objection(one: Gap, gap: int) -> Objection:
    if one.overflows(gap):
        return Objection(
            f"{one.table}.{one.column} ends at {one.last_id:,}, and a gap of {gap:,} past {one.highest:,} does not fit",
            "a smaller CUTOVER_ID_GAP, that the ids given out until the end of the cutover do not fill",
        )
    return Objection(one.clash, "botdata cutover advance, which raises the sequence by CUTOVER_ID_GAP first")
