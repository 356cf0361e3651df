"""Where a target's schema stands against the revisions: not there, behind, ahead, drifted, earlier, or right."""

from collections.abc import Iterable
from dataclasses import replace

from psycopg import AsyncConnection

from app.errors import INSTALL_NEWER
from app.migration.preflight.findings import SchemaDifference, finding
from app.migration.preflight.schemas.catalog import CatalogTable
from app.migration.preflight.schemas.target_schema import TargetState, as_findings, compare, not_there, revision_of
from app.models import Base
from app.next_step import Command, NextStep
from app.schema import phase08
from app.schema.revision_files import known_revisions

REPLACE = Command("schema replace")
_BY_HAND = "put it back as it should be, by hand (what is, what should be: see the table)"


def business_names() -> set[str]:
    """Names of the business tables of the present schema."""
    return {table.name for table in Base.metadata.tables.values() if table.info["group"] == "business"}


def baileys_names() -> set[str]:
    """Names of the WhatsApp session tables."""
    return {table.name for table in Base.metadata.tables.values() if table.info["group"] == "baileys"}


class ExamineSchema:
    """Examines a target for a step: see `app.migration.preflight.schemas.target_schema.Examine`.

    Args:
        upgrades: the step upgrades the schema itself, so that a schema that is not there yet does not stop it.
    """

    def __init__(self, *, upgrades: bool) -> None:
        self._upgrades = upgrades

    async def __call__(self, connection: AsyncConnection, catalog: dict[str, CatalogTable]) -> TargetState:
        """Where it stands, with every difference."""
        revision = await revision_of(connection, catalog)
        if revision is None:
            return self._unversioned(catalog)
        known = known_revisions()
        if revision != known[-1]:
            return self._elsewhere(revision, known)
        differences = [_judged(one) for one in compare(Base.metadata.sorted_tables, catalog, strict=True)]
        return TargetState(as_findings(differences, _BY_HAND), differences)

    def _unversioned(self, catalog: dict[str, CatalogTable]) -> TargetState:
        held = sorted(business_names() & catalog.keys())
        if not held:
            return not_there(None, known_revisions()[-1], upgrades=self._upgrades)
        differences = compare(Base.metadata.sorted_tables, catalog, strict=True)
        if phase08.recognise(catalog):
            examples = "companies.name where title should be, yclients_company_id for company_id"
            one = finding(
                "target-phase08",
                f"the target holds the tables of {phase08.NAME}, an earlier schema ({examples}, and so on)",
                str(REPLACE),
            )
            differences = list(_named_as_before(differences, catalog))
        else:
            one = finding(
                "target-incompatible",
                f"the target holds tables that no revision made: {', '.join(held)}",
                str(REPLACE),
            )
        return TargetState([one], differences, usable=False, next_step=NextStep(REPLACE))

    def _elsewhere(self, revision: str, known: list[str]) -> TargetState:
        head = known[-1]
        if revision not in known:
            one = finding(
                "target-ahead",
                f"the target is at revision {revision}, which this botdata does not know; its own newest is {head}",
                INSTALL_NEWER,
            )
            return TargetState([one], usable=False, next_step=NextStep(INSTALL_NEWER))
        return not_there(revision, head, upgrades=self._upgrades)


def _judged(one: SchemaDifference) -> SchemaDifference:
    """What a live session table has besides, or lacks around it, was left so when it was adopted."""
    left_so = {"target-index-missing", "target-index-differs", "target-column-extra"}
    is_notice = one.table in baileys_names() and one.code in left_so and one.severity != "error"
    return replace(one, severity="notice") if is_notice else one


def _named_as_before(
    differences: Iterable[SchemaDifference], catalog: dict[str, CatalogTable]
) -> Iterable[SchemaDifference]:
    """The same differences, those of renamed columns with the old name."""
    for one in differences:
        old = phase08.RENAMED.get((one.table, one.item.removeprefix("column ")))
        if one.found is None and old is not None and old in catalog[one.table].columns:
            yield replace(one, found=f"{old} {catalog[one.table].columns[old].type}")
        else:
            yield one
