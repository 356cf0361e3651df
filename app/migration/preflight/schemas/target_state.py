"""Where the target's schema stands: as another project's models say it should, or as our own (app.schema.state)."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from psycopg import AsyncConnection
from sqlalchemy import Table

from app.migration.preflight.findings import Finding, SchemaDifference, finding
from app.migration.preflight.schemas.catalog import CatalogTable
from app.migration.preflight.schemas.target_schema import as_findings, compare, stops
from app.migration.tables.copy_table import name_of
from app.next_step import Command, NextStep


@dataclass(frozen=True, slots=True)
class TargetState:
    """Where the target's schema stands.

    Attributes:
        usable: its tables can take the rows.
        next_step: what to run next where nothing else is in the way; None: the caller's own.
    """

    findings: list[Finding] = field(default_factory=list)
    differences: list[SchemaDifference] = field(default_factory=list)
    usable: bool = True
    creates_tables: bool = False
    next_step: NextStep | None = None


Examine = Callable[[AsyncConnection, dict[str, CatalogTable]], Awaitable[TargetState]]


def examine_against(tables: Sequence[Table], revisions: Sequence[str] = (), *, upgrades: bool = False) -> Examine:
    """The target of another project's tables: it is to have them, with columns of these names and types.

    Args:
        revisions: those of the project, the newest first.
        upgrades: the step upgrades the schema itself, so that a schema that is not there yet does not stop it.
    """

    async def examine(connection: AsyncConnection, catalog: dict[str, CatalogTable]) -> TargetState:
        revision = await revision_of(connection, catalog)
        held = [name_of(table) for table in tables if name_of(table) in catalog]
        if revisions and revision is None and held:
            return TargetState([_made_by_none(held)], usable=False)
        if revisions and revision not in (None, *revisions):
            return ahead(revision, revisions[0], "the project's own", "take the revisions from where it was upgraded")
        if revisions and revision != revisions[0]:
            return not_there(revision, revisions[0], upgrades=upgrades)
        rules = compare(tables, catalog, strict=False)
        remedy = "make the target's tables as the models describe them"
        differences = [one for one, _, _ in rules]
        return TargetState(as_findings(rules, remedy), differences, usable=not stops(rules))

    return examine


def ahead(revision: str | None, newest: str, whose: str, remedy: str) -> TargetState:
    """The state of a target at a revision that is not known here."""
    message = f"the target is at revision {revision}, which is not known here; {whose} newest is {newest}"
    return TargetState([finding("target-ahead", message, remedy)], usable=False, next_step=NextStep(remedy))


def _made_by_none(held: Sequence[str]) -> Finding:
    remedy = "have DATABASE_URL name an empty database, or drop them there, if that is what it should name"
    return finding("target-incompatible", f"the target holds tables that no revision made: {', '.join(held)}", remedy)


async def revision_of(connection: AsyncConnection, catalog: dict[str, CatalogTable]) -> str | None:
    """The revision that a database says it is at."""
    if "alembic_version" not in catalog:
        return None
    row = await (await connection.execute("SELECT version_num FROM <data schema>.alembic_version")).fetchone()
    return row[0] if row else None


def not_there(revision: str | None, newest: str, *, upgrades: bool) -> TargetState:
    """The state of a target that an upgrade makes fit; `upgrades`: the step upgrades it itself."""
    code, message, remedy = (
        ("target-empty", "the target does not hold the tables yet", "botdata upgrade makes them")
        if revision is None
        else ("target-behind", f"the target is at revision {revision}, and {newest} is the newest", "botdata upgrade")
    )
    return TargetState(
        [finding(code, message, remedy, severity="notice" if upgrades else "error")],
        usable=False,
        creates_tables=True,
        next_step=NextStep(Command("migrate" if upgrades else "upgrade")),
    )
