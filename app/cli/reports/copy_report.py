"""The report of a copy in words and as a document."""

from app.cli.options import GivenOptions
from app.cli.render import Document, Table, Words, document
from app.cli.reports.leftovers_report import (
    broken_lines,
    broken_list,
    but_not_usable,
    not_moved_lines,
    not_moved_list,
    not_moved_next,
    not_usable_list,
    refused_lines,
    refused_list,
    some_keys,
    unusable_lines,
)
from app.migration.runs.report import CopyReport
from app.migration.target.leftovers import mend
from app.next_step import Command, NextStep
from app.notify.steps import StepEnd
from app.privacy import mask_phones

_HEADINGS = {
    "table": "table",
    "source_rows": "source",
    "inserted": "new",
    "updated": "changed",
    "unchanged": "equal",
    "refused": "refused",
    "seconds": "seconds",
}


def copy_words(report: CopyReport, found: Document, given: GivenOptions) -> Words:
    """What was copied, what was refused and what is missing, and what to run next."""
    yield Table.of(found["tables"], _HEADINGS)
    for table in report.tables:
        if table.source_before is None:
            yield f"{table.table}: its exact count took longer than the API lets it, so its keys were listed instead;"
            yield "--source postgresql://... counts it"
        elif table.source_before != table.source_after:
            yield f"{table.table}: {table.source_before:,} rows in the source before, {table.source_after:,} after"
        if table.came:
            yield f"{table.table}: {table.came:,} rows came while it was copied, and were fetched too"
        if table.went:
            yield f"{table.table}: {table.went:,} rows of the target are not in the source (any more)"
        if table.disagreement:
            yield f"{table.table}: the counts do not agree: {table.disagreement}"
        if table.differ:
            yield f"{table.table}: {table.differ:,} rows are not as in the source: a trigger, a rule or a type of the"
            yield "target changed, added or skipped them, or they have changed at the source since"
        if table.missing:
            yield f"{table.table}: {len(table.missing):,} rows of the source did not arrive: {some_keys(table.missing)}"
    yield from refused_lines(found["tables"])
    refused = sum(len(table.refused) for table in report.tables)
    copied = sum(table.copied for table in report.tables)
    counts = f"{copied:,} rows copied" + (f", {refused:,} in quarantine" if refused else "")
    skipped = [table.table for table in report.tables if table.done_before]
    if skipped:
        yield f"done before the stop, and not read again: {', '.join(skipped)}; what has changed there since needs one"
        yield f"more copy: {given.command_text('copy')}"
    if report.sync_due:
        yield "Parts of it were read at another moment than others, since the run was stopped and went on. What has"
        yield f"changed at the source in between is brought over by: {given.command_text('sync')}"
    yield from broken_lines(report.broken)
    yield from unusable_lines(found)
    yield from not_moved_lines(found, "copied")
    if report.complete:
        counts = f"{counts} in {report.seconds:.1f} s{but_not_usable(report.not_usable)}"
        yield f"copy complete: {counts}. Next: {found['next']}"
        return
    yield f"copy NOT complete: {counts}"
    if _conflicts(report):
        yield "A unique key of a refused row is held by another row of the target, likely one that the source no longer"
        yield "has: a sync deletes such rows first."
    elif any(table.went for table in report.tables):
        yield "The target holds rows that the source does not have (any more): a sync deletes them."
    elif any(table.disagreement for table in report.tables):
        yield (
            "What the counts say has to be put right first: preflight names keys that are there twice, and collations."
        )
    elif refused:
        yield "Mend the refused rows at the source, or the target's schema; botdata quarantine list shows the reasons."
    yield f"Next: {found['next']}"


def _conflicts(report: CopyReport) -> bool:
    return any(refusal.sqlstate == "23505" for table in report.tables for refusal in table.refused)


def next_after_copy(report: CopyReport) -> NextStep:
    """What to do after this copy: a sync brings over what one moment lacks of another, deletions first."""
    if report.sync_due or _conflicts(report) or any(table.went or table.differ for table in report.tables):
        return NextStep(Command("sync"))
    if any(table.refused or table.missing or table.disagreement for table in report.tables):
        return NextStep(Command("copy"))
    if held_up := [key for key in report.broken if key.holds_up]:
        return mend(held_up)
    return not_moved_next(report.not_moved, "copy") if report.not_moved else NextStep(Command("verify"))


def copy_document(report: CopyReport, given: GivenOptions) -> Document:
    """The whole report for `--json`, keys masked."""
    return document(
        "copy",
        ok=report.complete,
        run=report.run,
        resumed=report.resumed,
        seconds=round(report.seconds, 3),
        tables=[
            {
                "table": table.table,
                "source_rows_before": table.source_before,
                "source_rows": table.source_after,
                "inserted": table.inserted,
                "updated": table.updated,
                "unchanged": table.unchanged,
                "came": table.came,
                "extra": table.went,
                "disagreement": table.disagreement,
                "differ": table.differ,
                "missing": [list(map(mask_phones, key)) for key in table.missing],
                "refused": refused_list(table.refused),
                "done_before": table.done_before,
                "seconds": round(table.seconds, 3),
            }
            for table in report.tables
        ],
        sync_due=report.sync_due,
        broken_foreign_keys=broken_list(report.broken),
        not_usable=not_usable_list(report.not_usable),
        not_seen=list(report.not_seen),
        not_moved=not_moved_list(report.not_moved),
        next=given.text(next_after_copy(report), step="copy"),
    )


def copy_end(report: CopyReport, given: GivenOptions) -> StepEnd:
    """The end of a copy."""
    rows, refused = sum(table.copied for table in report.tables), sum(len(table.refused) for table in report.tables)
    told = f"{rows:,} rows of {len(report.tables):,} tables copied, {refused:,} in quarantine"
    facts = {"run": report.run, "tables": len(report.tables), "rows": rows, "refused": refused}
    facts["seconds"] = round(report.seconds)
    return StepEnd(report.complete, told, facts, given.text(next_after_copy(report)))
