"""What people are told of the end of a step: its counts, and what is next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.cli.options import GivenOptions
from app.cli.reports.copy_report import next_after_copy
from app.cli.reports.sync_report import next_after_sync
from app.cli.reports.verify_report import next_step
from app.migration.runs.report import CopyReport, VerifyReport
from app.migration.sync.sync_report import SyncReport
from app.notify.steps import StepEnd

if TYPE_CHECKING:
    from app.migration.migrate import MigrateReport  # which imports Alembic


def copy_end(report: CopyReport, given: GivenOptions) -> StepEnd:
    """The end of a copy."""
    rows, refused = sum(table.copied for table in report.tables), sum(len(table.refused) for table in report.tables)
    told = f"{rows:,} rows of {len(report.tables):,} tables copied, {refused:,} in quarantine"
    facts = {"run": report.run, "tables": len(report.tables), "rows": rows, "refused": refused}
    facts["seconds"] = round(report.seconds)
    return StepEnd(report.complete, told, facts, given.text(next_after_copy(report)))


def sync_end(report: SyncReport, given: GivenOptions) -> StepEnd:
    """The end of a sync."""
    tables = report.tables.values()
    changed, deleted = sum(table.inserted + table.updated for table in tables), sum(table.deleted for table in tables)
    refused = sum(len(table.refused) for table in tables)
    told = f"{changed:,} rows changed, {deleted:,} deleted, {refused:,} refused in {report.rounds:,} rounds"
    facts = {"run": report.run, "rounds": report.rounds, "changed": changed, "deleted": deleted, "refused": refused}
    facts["seconds"] = round(report.seconds)
    return StepEnd(report.complete, told, facts, given.text(next_after_sync(report)))


def verify_end(report: VerifyReport, given: GivenOptions) -> StepEnd:
    """The end of a comparison."""
    rows = sum(table.source_rows for table in report.tables)
    differences = {table.table: table.rows_that_differ for table in report.tables if not table.clean}
    differ = sum(differences.values())
    told = f"{rows:,} rows of {len(report.tables):,} tables, {differ:,} differ"
    facts = {"tables": len(report.tables), "rows": rows, "differ": differ, "seconds": round(report.seconds)}
    return StepEnd(report.clean, told, facts, given.text(next_step(report, given)), differences)


def migrate_end(report: MigrateReport, given: GivenOptions) -> StepEnd:
    """The end of the whole move."""
    copied, verified = copy_end(report.copied, given), verify_end(report.verified, given)
    first = copied if report.verified.clean and not report.copied.complete else verified
    facts = {"copy": dict(copied.facts), "verify": dict(verified.facts)}
    told = f"{copied.told}; verified {verified.told}"
    return StepEnd(report.complete, told, facts, first.next, verified.differences)
