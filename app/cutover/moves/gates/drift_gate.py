"""Gate: both schemas are as the models say, by the comparisons of preflight."""

from collections.abc import Sequence

from psycopg import AsyncConnection
from sqlalchemy import Table

from app.cutover.moves.gates.objection import Objection
from app.cutover.tables import BUSINESS_TABLES
from app.errors import BotdataError
from app.migration.preflight.findings import Accepted, Finding
from app.migration.preflight.schemas.catalog import read_all
from app.migration.preflight.schemas.source_schema import SourceSeen, schema_findings
from app.migration.preflight.schemas.target_schema import as_findings, compare
from app.migration.preflight.sources.rest_source import see_rest
from app.migration.retry import Limits
from app.migration.sources.rest.rest_source import RestSource
from app.models import Base
from app.settings import Settings
from app.stores.supabase.client import SupabaseRest

_LIMITS = Limits(attempts=3)
_BY_HAND = "botdata preflight, which shows all of it; put the target's schema back as the models say"


async def drift(connection: AsyncConnection, settings: Settings, accepted: Accepted) -> list[Objection]:
    """What of either schema would stop a copy."""
    tables = [table for table in Base.metadata.sorted_tables if table.name in BUSINESS_TABLES]
    catalog = await read_all(connection, tables)
    found = as_findings(compare(tables, catalog, strict=True), _BY_HAND)
    try:
        seen = await _see_supabase(settings, tables)
    except BotdataError as error:
        return [
            Objection(f"Supabase's schema could not be looked at: {error}", "botdata preflight, which says more of it"),
            *_errors(accepted, found),
        ]
    found += seen.findings + schema_findings(seen, tables, catalog, ignored=accepted.ignored_columns)
    return _errors(accepted, found)


async def _see_supabase(settings: Settings, tables: Sequence[Table]) -> SourceSeen:
    url, key = settings.require_supabase()
    async with await SupabaseRest.open(url, key, request_timeout=30.0) as rest:
        return await see_rest(RestSource(rest, url, limits=_LIMITS), tables)


def _errors(accepted: Accepted, found: list[Finding]) -> list[Objection]:
    return [Objection(one.message, one.remedy) for one in accepted.apply(found) if one.severity == "error"]
