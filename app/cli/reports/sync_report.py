"""The report of a sync: a line for each round, then all of it in words or as a document."""

from collections.abc import Callable, Sequence
from datetime import datetime
from time import monotonic
from typing import Any

from app.cli.given_options import GivenOptions
from app.cli.output import document, say, show_table
from app.cli.reports.copy_report import broken_list, show_broken
from app.cli.reports.leftovers_report import (
    but_not_usable,
    not_moved_list,
    not_moved_next,
    not_usable_list,
    show_leftovers,
    show_not_moved,
)
from app.migration.preflight.findings import Finding
from app.migration.sync.sync_report import SyncReport, SyncRound
from app.migration.target.foreign_keys import mend
from app.next_step import Command, NextStep

_SHOWN = 20
_SECONDS_BETWEEN_QUIET_LINES = 60.0


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


def show_sync(report: SyncReport, given: GivenOptions, fires: Sequence[Finding] = ()) -> None:
    """Print what was changed, what remains, and what to run next.

    Args:
        fires: what the source does by itself with rows that go back.
    """
    would = "would be " if report.dry_run else ""
    tables = report.tables.values()
    headings = ["table", "new", "changed", "deleted", "kept images", "refused", "still different"]
    show_table(
        headings,
        [
            [table.table]
            + [f"{n:,}" for n in (table.inserted, table.updated, table.deleted, table.kept)]
            + [f"{len(table.refused):,}", f"{table.unsettled:,}"]
            for table in tables
        ],
        numbers=frozenset(range(1, len(headings))),
    )
    for one in fires:
        say(f"{'would fire' if report.dry_run else 'accepted'}: {one.message} ({one.code})")
    refused = [refusal for table in tables for refusal in table.refused]
    for refusal in refused[:_SHOWN]:
        place = f" ({refusal.place})" if refusal.place else ""
        say(f"refused: {refusal.table} {', '.join(refusal.key)}: SQLSTATE {refusal.sqlstate}{place}")
    if len(refused) > _SHOWN:
        say(f"... and {len(refused) - _SHOWN:,} more")
    if kept := sum(table.kept for table in tables):
        never = "were not known to have been in the target" if report.reverse else "had not come from the source"
        say(f"{kept:,} rows that were replaced had changed later, or were deleted and {never}:")
        say("their old images are in botdata.replaced_rows")
        for table in tables:
            if table.kept and table.keys_only:
                say(f"of {table.table}, {table.kept:,} of these: their keys only, since no other value of it is kept")
    show_broken(report.broken)
    show_leftovers(report.not_usable, report.not_seen)
    show_not_moved(report.not_moved, "synced")
    if report.by_hand:
        say(
            "The source's sequences cannot be raised over REST, or not by this role: before anything inserts there, run"
        )
        say("in its SQL editor:")
        for statement in report.by_hand:
            say(f"  {statement}")
    written = sum(table.inserted + table.updated for table in tables)
    deleted = sum(table.deleted for table in tables)
    told = f"{written:,} rows {would}changed, {deleted:,} {would}deleted in {report.seconds:.1f} s"
    if report.dry_run:
        say(f"dry run: {told}. Next: {given.text(next_after_sync(report))}")
        return
    rounds = f"{report.rounds:,} round{'' if report.rounds == 1 else 's'}"
    lag = f"; the state is that of {report.lag:.1f} s before its end" if report.lag is not None else ""
    if report.interrupted:
        say("stopped in the middle of a round; the next sync goes on from there")
    if report.complete:
        rounds += f"{lag}{but_not_usable(report.not_usable)}"
        say(f"sync complete: {told}, {rounds}. Next: {given.text(next_after_sync(report))}")
        return
    say(f"sync NOT complete: {told}, {rounds}{lag}")
    if refused and not report.reverse:
        say("Mend the refused rows at the source, or the target's schema; botdata quarantine list shows the reasons.")
    elif refused:
        say("Mend the refused rows in the target, or the source's schema.")
    if left := sum(table.left for table in tables):
        say(f"{left:,} rows of the source are in quarantine, since the target refused them: they are left as they are.")
    if any(table.unsettled for table in tables):
        say("Rows that stay different although they were written or deleted: by a column's type, a trigger or a rule.")
    say(f"Next: {given.text(next_after_sync(report))}")


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


def sync_document(report: SyncReport, given: GivenOptions, fires: Sequence[Finding] = ()) -> dict[str, Any]:
    """The whole report for `--json`, keys masked; `fires` as in `show_sync`."""
    return document(
        "sync",
        ok=report.complete,
        run=report.run or None,
        reverse=report.reverse,
        by=report.by,
        dry_run=report.dry_run,
        rounds=report.rounds,
        interrupted=report.interrupted,
        lag=None if report.lag is None else round(report.lag, 3),
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
                "refused": [
                    {"key": list(refusal.key), "sqlstate": refusal.sqlstate, "place": refusal.place}
                    for refusal in table.refused
                ],
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
