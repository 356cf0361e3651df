"""The report of a verification in words and as a document."""

import shlex
from collections.abc import Iterable
from typing import Any

from app.cli.given_options import GivenOptions
from app.cli.output import document, say, show_table
from app.cli.reports.leftovers_report import (
    not_moved_list,
    not_moved_next,
    not_usable_list,
    show_leftovers,
    show_not_moved,
)
from app.migration.runs.report import FoundDifference, TableVerified, VerifyReport, ViewCompared
from app.next_step import Command, NextStep

_SHOWN = 20
_BACK = Command("sync", "--reverse")


def show_verify(
    report: VerifyReport, given: GivenOptions, *, show_values: bool = False, first: str | None = None
) -> None:
    """Print counts a table, the first differences, the verdict, and what to run next.

    Args:
        show_values: the values that differ too, and keys unmasked.
        first: what comes next in place of what the comparison alone says.
    """
    columns = ["source", "target", "equal", "missing", "extra", "different", "fixed", "seconds"]
    show_table(
        ["table", *columns],
        [
            [
                table.table,
                *(
                    f"{count:,}"
                    for count in (
                        table.source_rows,
                        table.target_rows,
                        table.equal,
                        table.missing,
                        table.extra,
                        table.different,
                        table.fixed,
                    )
                ),
                f"{table.seconds:.1f}",
            ]
            for table in report.tables
        ],
        numbers=frozenset(range(1, len(columns) + 1)),
    )
    differences = report.differences
    for difference in differences[:_SHOWN]:
        say(_sentence(difference, show_values=show_values))
    if any(table.cut for table in report.tables):
        say(f"... and more; the first {len(differences):,} of them: {given.command_text('verify', '--json')}")
    elif len(differences) > _SHOWN:
        say(f"... and {len(differences) - _SHOWN:,} more; all of them: {given.command_text('verify', '--json')}")
    for table in report.tables:
        _say_what_happened(table)
    for view in report.views:
        _say_view(view)
    show_leftovers(report.not_usable)
    show_not_moved(report.not_moved, "compared")
    if report.unproved:
        say(f"NOT PROVED YET, although marked valid: foreign keys {', '.join(report.unproved)}. Rows were written")
        say("while the target's triggers were silent, and the run did not come to look for those that lack theirs.")
    _say_verdict(report)
    if report.fix and any(table.missing + table.different > table.quarantined for table in report.tables):
        say("A type of the target that rounds, a trigger that changes what is written, or a column that the target")
        say("makes by itself, keeps rows different.")
    say(f"Next: {first or given.text(next_step(report, given))}")


def _say_what_happened(table: TableVerified) -> None:
    if table.sampled is not None:
        say(f"{table.table}: a sample of {table.sampled:,} of {table.source_rows:,} rows")
    if table.counts_differ:
        say(f"{table.table}: {table.source_rows:,} rows in the source, {table.target_rows:,} in the target")
        if table.sampled is None:
            say("  The rows that differ do not explain this: a key is there twice in the source, or rows are hidden.")
    if table.changed:
        say(f"{table.table}: {table.changed:,} rows changed while they were verified, and do not differ now")
    if table.left_out:
        say(f"{table.table}: not compared: {', '.join(f'{one.column} ({one.why})' for one in table.left_out)}")
    if table.quarantined:
        say(f"{table.table}: {table.quarantined:,} of these rows were refused by the target and are in quarantine")


def _say_view(view: ViewCompared) -> None:
    counts = f"{_count(view.source_rows)} rows in the source, {_count(view.target_rows)} in the target"
    if view.by is None:
        say(f"materialized view {view.view}: not compared: {view.why}")
    elif not view.equal:
        say(f"materialized view {view.view}: not the same: {counts}; {view.why}")
    elif view.by == "count":
        say(
            f"materialized view {view.view}: {counts}; its rows were not compared, which takes --source postgresql://..."
        )


def _count(rows: int | None) -> str:
    return "unknown" if rows is None else f"{rows:,}"


def _say_verdict(report: VerifyReport) -> None:
    rows = sum(table.source_rows for table in report.tables)
    sampled = sum(table.sampled or 0 for table in report.tables)
    what = f"a sample of {sampled:,} of {rows:,} rows" if report.sample is not None else f"{rows:,} rows"
    if fixed := sum(table.fixed for table in report.tables):
        say(f"fixed: {fixed:,} rows were copied again and are equal now")
    if not all(table.clean for table in report.tables):
        counts = "the counts differ; " if any(table.counts_differ for table in report.tables) else ""
        say(f"NOT the same: {counts}{sum(table.rows_that_differ for table in report.tables):,} rows differ, of {what}")
        if report.stream_stands:
            say(f"They may only be late: {report.stream_stands}")
    elif report.not_moved:
        say(f"NOT all compared: no difference was found in {what} of the other tables")
    elif report.not_usable:
        say(
            f"NOT usable, though no difference was found in {what}: the application fails, or reads old rows, "
            "where it reads the above"
        )
    elif report.unproved:
        say(f"NOT verified, though no difference was found in {what}: foreign keys are not proved, see above")
    elif report.sample is not None:
        say(f"nothing found in {what}, and equal counts, in {report.seconds:.1f} s; the other rows were not compared")
    else:
        say(f"verified: {what}, no difference, in {report.seconds:.1f} s")


def next_step(report: VerifyReport, given: GivenOptions) -> NextStep:
    """What to do after this verification; where the target's rows are the newer ones, the source is made like them."""
    again = Command("verify")
    if report.clean:
        if report.sample is not None:
            return NextStep(again)
        if given.foreign and report.newer:
            return NextStep("nothing, since the target is the store that is written; the way back: ", _BACK)
        if given.foreign:  # parity and the cutover are the bot's
            after = "once nothing writes to the source any more; then set USE_REPOSITORY_PATTERN=true"
            return NextStep(Command("sync", "--until-clean"), f", {after}")
        return NextStep(Command("cutover status" if report.managed else "parity"))
    if report.stream_stands and not all(table.clean for table in report.tables):
        return NextStep(Command("stream status"), ", and when the stream goes on: ", again)
    if report.not_moved and not report.not_usable and all(table.clean for table in report.tables):
        return not_moved_next(report.not_moved, "verify")
    if all(table.clean for table in report.tables):
        if report.not_usable:
            return NextStep("; ".join(one.statement for one in report.not_usable), "; then: ", again)
        proves = _BACK if report.newer else Command("verify", "--fix")
        return NextStep(proves, ", which proves the foreign keys")
    unclean = [table for table in report.tables if not table.clean]
    behind = [table for table in unclean if table.table not in report.newer]
    ahead = [table for table in unclean if table not in behind]
    if to_bring := [t for t in ahead if t.rows_that_differ > t.quarantined or t.counts_differ]:
        reverse = Command("sync", f"--reverse {_only(to_bring)}")
        return NextStep(reverse, ", since the target is their store, then: ", again)
    those = _only(behind) if report.newer else ""
    again = Command("verify", those)
    if any(table.extra for table in behind):
        return NextStep(Command("sync", those), ", which deletes rows that the source does not have, then: ", again)
    if any(table.missing + table.different > table.quarantined for table in behind):
        return NextStep(Command("preflight", those) if report.fix else Command("verify", f"{those} --fix".strip()))
    if any(table.quarantined for table in unclean):
        return NextStep(Command("quarantine list"))
    if report.sample is None:
        return NextStep(Command("preflight", those), ", which names keys that are there twice, then: ", again)
    return NextStep(again)  # a sample found only that counts differ


def _only(tables: Iterable[TableVerified]) -> str:
    return f"--tables {shlex.quote(','.join(table.table for table in tables))}"


def _sentence(difference: FoundDifference, *, show_values: bool) -> str:
    where = f"{difference.table} {difference.shown_key(show_values=show_values)}"
    refused = f" (in quarantine, SQLSTATE {difference.refused})" if difference.refused else ""
    if difference.kind == "missing":
        return f"missing: {where} is not in the target{refused}"
    if difference.kind == "extra":
        return f"extra: {where} is not in the source"
    values = f": source {difference.source!r}, target {difference.target!r}" if show_values else ""
    if show_values and difference.withheld:
        values = ", whose values are not shown: only keys of this table are"
    return f"different: {where} column {difference.column}{values}{refused}"


def verify_document(report: VerifyReport, given: GivenOptions) -> dict[str, Any]:
    """The whole report for `--json`: values and keys as they are."""
    return document(
        "verify",
        ok=report.clean,
        sample=report.sample,
        fix=report.fix,
        seconds=round(report.seconds, 3),
        tables=[
            {
                "table": table.table,
                "source_rows": table.source_rows,
                "target_rows": table.target_rows,
                "sampled": table.sampled,
                "equal": table.equal,
                "missing": table.missing,
                "extra": table.extra,
                "different": table.different,
                "in_quarantine": table.quarantined,
                "changed_meanwhile": table.changed,
                "fixed": table.fixed,
                "differences": [
                    {
                        "kind": difference.kind,
                        "key": list(difference.key),
                        "column": difference.column,
                        "source": difference.source,
                        "target": difference.target,
                        "sqlstate": difference.refused,
                        "withheld": difference.withheld,
                    }
                    for difference in table.differences
                ],
                "differences_cut": table.cut,
                "counts_agree": table.counts_agree,
                "not_compared": [{"column": one.column, "why": one.why} for one in table.left_out],
                "seconds": round(table.seconds, 3),
            }
            for table in report.tables
        ],
        not_usable=not_usable_list(report.not_usable),
        views=[
            {
                "view": view.view,
                "source_rows": view.source_rows,
                "target_rows": view.target_rows,
                "compared_by": view.by,
                "equal": view.equal,
                "stale": view.stale,
                "why": view.why,
            }
            for view in report.views
        ],
        not_moved=not_moved_list(report.not_moved),
        unproved_foreign_keys=list(report.unproved),
        stream_stands=report.stream_stands,
        next=given.text(next_step(report, given)),
    )
