"""Where the target's schema stands: as another project's models say it should, or as our own (app.schema.state)."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from psycopg import AsyncConnection
from sqlalchemy import Table

from app.migration.preflight.findings import Finding, SchemaDifference
from app.migration.preflight.schemas.catalog import CatalogTable
from app.migration.preflight.schemas.target_schema import as_findings, compare, stops
from app.next_step import NextStep


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


def examine_against(tables: Sequence[Table]) -> Examine:
    """The target of another project's tables: it is to have them, with columns of these names and types."""

    async def examine(connection: AsyncConnection, catalog: dict[str, CatalogTable]) -> TargetState:
        rules = compare(tables, catalog, strict=False)
        remedy = "make the target's tables as --metadata describes them"
        differences = [one for one, _, _ in rules]
        return TargetState(as_findings(rules, remedy), differences, usable=not stops(rules))

    return examine
