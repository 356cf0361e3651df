"""The report of a sync: a line for each round, then all of it in words or as a document."""

from collections.abc import Callable, Sequence
from datetime import datetime
from time import monotonic

from app.cli.options import GivenOptions
from app.cli.render import Document, Table, Words, document, rounded
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
    unusable_lines,
)
from app.migration.preflight.findings import Finding
from app.migration.sync.sync_report import SyncReport, SyncRound
from app.migration.target.leftovers import mend
from app.next_step import Command, NextStep
from app.notify.steps import StepEnd

_SECONDS_BETWEEN_QUIET_LINES = 60.0
_HEADINGS = {
    "table": "table",
    "inserted": "new",
    "updated": "changed",
    "deleted": "deleted",
    "kept_images": "kept images",
    "refused": "refused",
    "still_different": "still different",
}


class RoundLines:
    """A line for each round that did something; of quiet ones the first, and one a minute.

    Args:
        quiet: no lines at all.
    """

    def __init__(self, say: Callable[[str], None], *, quiet: bool) -> None:
        self._say = say
        self._silent = quiet
        self._said = 0.0
        self._quiet_before = False

    def add(self, done: SyncRound) -> None:
        """Tell of a round."""
        due = monotonic() - self._said > _SECONDS_BETWEEN_QUIET_LINES
        if self._silent or (done.quiet and self._quiet_before and not due):
            return
        self._said, self._quiet_before = monotonic(), done.quiet
        remains = [f"{done.refused:,} refused"] if done.refused else []
        remains += [f"{done.unsettled:,} still different"] if done.unsettled else []
        self._say(
            f"{datetime.now():%H:%M:%S} round {done.number}: {done.written:,} changed, {done.deleted:,} deleted; "
            f"lag {done.lag:.1f} s; remains: {', '.join(remains) or 'nothing'}"
        )


def sync_words(report: SyncReport, found: Document, fires: Sequence[Finding] = ()) -> Words:
    """What was changed, what remains, and what to run next.

    Args:
        fires: what the source does by itself with rows that go back.
    """
    would = "would be " if report.dry_run else ""
    tables = report.tables.values()
    yield Table.of(found["tables"], _HEADINGS)
    for one in fires:
        yield f"{'would fire' if report.dry_run else 'accepted'}: {one.message} ({one.code})"
    yield from refused_lines(found["tables"])
    if kept := sum(table.kept for table in tables):
        never = "were not known to have been in the target" if report.reverse else "had not come from the source"
        yield f"{kept:,} rows that were replaced had changed later, or were deleted and {never}:"
        yield "their old images are in botdata.replaced_rows"
        for table in tables:
            if table.kept and table.keys_only:
                yield f"of {table.table}, {table.kept:,} of these: their keys only, since no other value of it is kept"
    yield from broken_lines(report.broken)
    yield from unusable_lines(found)
    yield from not_moved_lines(found, "synced")
    if report.by_hand:
        yield (
            "The source's sequences cannot be raised over REST, or not by this role: before anything inserts there, run"
        )
        yield "in its SQL editor:"
        yield from (f"  {statement}" for statement in report.by_hand)
    written = sum(table.inserted + table.updated for table in tables)
    deleted = sum(table.deleted for table in tables)
    told = f"{written:,} rows {would}changed, {deleted:,} {would}deleted in {report.seconds:.1f} s"
    if report.dry_run:
        yield f"dry run: {told}. Next: {found['next']}"
        return
    rounds = f"{report.rounds:,} round{'' if report.rounds == 1 else 's'}"
    lag = f"; the state is that of {report.lag:.1f} s before its end" if report.lag is not None else ""
    if report.interrupted:
        yield "stopped in the middle of a round; the next sync goes on from there"
    if report.complete:
        rounds += f"{lag}{but_not_usable(report.not_usable)}"
        yield f"sync complete: {told}, {rounds}. Next: {found['next']}"
        return
    yield f"sync NOT complete: {told}, {rounds}{lag}"
    refused = any(table.refused for table in tables)
    if refused and not report.reverse:
        yield "Mend the refused rows at the source, or the target's schema; botdata quarantine list shows the reasons."
    elif refused:
        yield "Mend the refused rows in the target, or the source's schema."
    if left := sum(table.left for table in tables):
        why = "since the target refused them: they are left as they are."
        yield f"{left:,} rows of the source are in quarantine, {why}"
    if any(table.unsettled for table in tables):
        yield "Rows that stay different although they were written or deleted: by a column's type, a trigger or a rule."
    yield f"Next: {found['next']}"


def next_after_sync(report: SyncReport) -> NextStep:
    """The same again while rows wait to be mended; once all that can be written is, a look at what differs."""
    tables = report.tables.values()
    if report.dry_run or any(table.refused for table in tables):
        return NextStep(Command("sync"))
    if any(table.left for table in tables):
        return NextStep(Command("quarantine list"), ", which shows the rows that the target refused")
    if report.complete:
        return NextStep(Command("verify"))
    if any(table.unsettled for table in tables):
        return NextStep(Command("verify", "--show-values"))
    if report.interrupted:
        return NextStep(Command("sync"))
    if held_up := [key for key in report.broken if key.holds_up]:
        return mend(held_up)
    return not_moved_next(report.not_moved, "sync") if report.not_moved else NextStep(Command("sync"))


def sync_document(report: SyncReport, given: GivenOptions, fires: Sequence[Finding] = ()) -> Document:
    """The whole report for `--json`, keys masked; `fires` as in `sync_words`."""
    return document(
        "sync",
        ok=report.complete,
        run=report.run or None,
        reverse=report.reverse,
        by=report.by,
        dry_run=report.dry_run,
        rounds=report.rounds,
        interrupted=report.interrupted,
        lag=rounded(report.lag),
        seconds=round(report.seconds, 3),
        tables=[
            {
                "table": table.table,
                "inserted": table.inserted,
                "updated": table.updated,
                "deleted": table.deleted,
                "kept_images": table.kept,
                "images_hold_keys_only": table.keys_only,
                "spared": table.spared,
                "still_different": table.unsettled,
                "in_quarantine": table.left,
                "refused": refused_list(table.refused),
            }
            for table in report.tables.values()
        ],
        fires_at_source=[
            {"code": one.code, "table": one.table, "name": one.name, "message": one.message} for one in fires
        ],
        broken_foreign_keys=broken_list(report.broken),
        not_usable=not_usable_list(report.not_usable),
        not_seen=list(report.not_seen),
        not_moved=not_moved_list(report.not_moved),
        by_hand=list(report.by_hand),
        next=given.text(next_after_sync(report)),
    )


def sync_end(report: SyncReport, given: GivenOptions) -> StepEnd:
    """The end of a sync."""
    tables = report.tables.values()
    changed, deleted = sum(table.inserted + table.updated for table in tables), sum(table.deleted for table in tables)
    refused = sum(len(table.refused) for table in tables)
    told = f"{changed:,} rows changed, {deleted:,} deleted, {refused:,} refused in {report.rounds:,} rounds"
    facts = {"run": report.run, "rounds": report.rounds, "changed": changed, "deleted": deleted, "refused": refused}
    facts["seconds"] = round(report.seconds)
    return StepEnd(report.complete, told, facts, given.text(next_after_sync(report)))
