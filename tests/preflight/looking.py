"""Runs preflight against a source and a target under test."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from sqlalchemy import Table

from app.migration.preflight.findings import Accepted, PreflightReport
from app.migration.preflight.run import run_preflight
from app.migration.preflight.schemas.target_schema import Examine
from app.migration.sources.opening import Supabase
from app.migration.tables.metadata import select_tables
from app.models import Base
from app.schema.plan import examine_against_revisions
from tests.migration.engine import QUICK


class Served(Protocol):
    """A server that rows are copied from; its `url` is a PostgreSQL's for one over a database connection."""

    @property
    def url(self) -> str: ...

    @property
    def service_key(self) -> str: ...


async def look(
    source: Served,
    target: str,
    *names: str,
    tables: Sequence[Table] | None = None,
    examine: Examine | None = None,
    accept: Sequence[str] = (),
    ignored: Sequence[str] = (),
    quick: bool = False,
    connections: int = 3,
    told: Callable[[str], None] = lambda message: None,
) -> PreflightReport:
    """Preflight of the business tables, or of those named."""
    if tables is None:
        tables = select_tables(Base.metadata, names=names or None, groups={"business"})
    over_connection = source.url.startswith("postgresql")
    return await run_preflight(
        source.url if over_connection else Supabase(source.url, source.service_key),
        target,
        tables,
        examine or examine_against_revisions(upgrades=True),
        accepted=Accepted(frozenset(accept), frozenset(ignored)),
        quick=quick,
        connections=connections,
        limits=replace(QUICK, attempts=4),
        on_retry=told,
    )


def codes(report: PreflightReport, *severities: str) -> list[str]:
    """The codes of the report's errors and warnings, or of these severities, with their places."""
    wanted = severities or ("error", "warning")
    return [f"{one.code} {one.place}".strip() for one in report.findings if one.severity in wanted]
