"""The report of a copy in words and as a document."""

from collections.abc import Sequence
from typing import Any

from app.cli.given_options import GivenOptions
from app.cli.output import document, say, show_table
from app.cli.reports.leftovers_report import (
    but_not_usable,
    not_moved_list,
    not_moved_next,
    not_usable_list,
    show_leftovers,
    show_not_moved,
)
from app.common.keys import Key
from app.migration.runs.report import CopyReport
from app.migration.target.foreign_keys import BrokenForeignKey, mend
from app.next_step import Command, NextStep
from app.privacy import mask_phones

_SHOWN = 20


def show_copy(report: CopyReport, given: GivenOptions) -> None:
    """Print what was copied, what was refused and what is missing, and what to run next."""
    show_table(
        ["table", "source", "new", "changed", "equal", "refused", "seconds"],
        [
            [
                table.table,
                f"{table.source_after:,}",
                f"{table.inserted:,}",
                f"{table.updated:,}",
                f"{table.unchanged:,}",
                f"{len(table.refused):,}",
                f"{table.seconds:.1f}",
            ]
            for table in report.tables
        ],
        numbers=frozenset(range(1, 7)),
    )
    for table in report.tables:
        if table.source_before is None:
            say(f"{table.table}: its exact count took longer than the API lets it, so its keys were listed instead;")
            say("--source postgresql://... counts it")
        elif table.source_before != table.source_after:
            say(f"{table.table}: {table.source_before:,} rows in the source before, {table.source_after:,} after")
        if table.came:
            say(f"{table.table}: {table.came:,} rows came while it was copied, and were fetched too")
        if table.went:
            say(f"{table.table}: {table.went:,} rows of the target are not in the source (any more)")
        if table.disagreement:
            say(f"{table.table}: the counts do not agree: {table.disagreement}")
        if table.differ:
            say(f"{table.table}: {table.differ:,} rows are not as in the source: a trigger, a rule or a type of the")
            say("target changed, added or skipped them, or they have changed at the source since")
        if table.missing:
            say(f"{table.table}: {len(table.missing):,} rows of the source did not arrive: {_some(table.missing)}")
    refused = [refusal for table in report.tables for refusal in table.refused]
    for refusal in refused[:_SHOWN]:
        place = f" ({refusal.place})" if refusal.place else ""
        say(f"refused: {refusal.table} {', '.join(refusal.key)}: SQLSTATE {refusal.sqlstate}{place}")
    if len(refused) > _SHOWN:
        say(f"... and {len(refused) - _SHOWN:,} more")
    copied = sum(table.copied for table in report.tables)
    counts = f"{copied:,} rows copied" + (f", {len(refused):,} in quarantine" if refused else "")
    skipped = [table.table for table in report.tables if table.done_before]
    if skipped:
        say(f"done before the stop, and not read again: {', '.join(skipped)}; what has changed there since needs one")
        say(f"more copy: {given.command_text('copy')}")
    if report.sync_due:
        say("Parts of it were read at another moment than others, since the run was stopped and went on. What has")
        say(f"changed at the source in between is brought over by: {given.command_text('sync')}")
    show_broken(report.broken)
    show_leftovers(report.not_usable, report.not_seen)
    show_not_moved(report.not_moved, "copied")
    if report.complete:
        counts = f"{counts} in {report.seconds:.1f} s{but_not_usable(report.not_usable)}"
        say(f"copy complete: {counts}. Next: {given.text(next_after_copy(report), step='copy')}")
        return
    say(f"copy NOT complete: {counts}")
    if _conflicts(report):
        say("A unique key of a refused row is held by another row of the target, likely one that the source no longer")
        say("has: a sync deletes such rows first.")
    elif any(table.went for table in report.tables):
        say("The target holds rows that the source does not have (any more): a sync deletes them.")
    elif any(table.disagreement for table in report.tables):
        say("What the counts say has to be put right first: preflight names keys that are there twice, and collations.")
    elif refused:
        say("Mend the refused rows at the source, or the target's schema; botdata quarantine list shows the reasons.")
    say(f"Next: {given.text(next_after_copy(report), step='copy')}")


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


def _some(keys: tuple[Key, ...]) -> str:
    """The first keys of many, phones masked."""
    shown = "; ".join(mask_phones(", ".join(key)) for key in keys[:_SHOWN])
    return shown + ("; ..." if len(keys) > _SHOWN else "")


def show_broken(broken: Sequence[BrokenForeignKey]) -> None:
    """Say which foreign keys not all rows keep, and what puts them back."""
    for key in broken:
        say(key.sentence)
        if not key.moved:
            say(f"{key.parent} is not among the tables that are moved; once no row lacks its own: {key.statement}")


def broken_list(broken: Sequence[BrokenForeignKey]) -> list[dict[str, Any]]:
    """The same for `--json`."""
    return [
        {
            "table": key.table,
            "name": key.name,
            "references": key.parent,
            "moved": key.moved,
            "there": key.there,
            "marked_valid": key.marked_valid,
            "orphans": key.orphans,
            "query": key.query,
            "statement": key.statement,
        }
        for key in broken
    ]


def copy_document(report: CopyReport, given: GivenOptions) -> dict[str, Any]:
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
                "refused": [
                    {"key": list(refusal.key), "sqlstate": refusal.sqlstate, "place": refusal.place}
                    for refusal in table.refused
                ],
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
