"""The report of a verification in words and as a document."""

import shlex
from collections.abc import Iterable

from app.cli.options import GivenOptions
from app.cli.render import SHOWN, Document, Table, Words, document
from app.cli.reports.leftovers_report import (
    not_moved_lines,
    not_moved_list,
    not_moved_next,
    not_usable_list,
    unusable_lines,
)
from app.migration.runs.report import FoundDifference, TableVerified, VerifyReport, ViewCompared
from app.next_step import Command, NextStep
from app.notify.steps import StepEnd

_COUNTS = ("source_rows", "target_rows", "equal", "missing", "extra", "different", "fixed", "seconds")
_HEADINGS = {"table": "table", **{count: count.removesuffix("_rows") for count in _COUNTS}}
_BACK = Command("sync", "--reverse")


def verify_words(
    report: VerifyReport,
    found: Document,
    given: GivenOptions,
    *,
    show_values: bool = False,
    following: str | None = None,
) -> Words:
    """Counts a table, the first differences, the verdict, and what to run next.

    Args:
        show_values: the values that differ too, and keys unmasked.
        following: what comes next in place of what the comparison alone says.
    """
    yield Table.of(found["tables"], _HEADINGS)
    differences = report.differences
    yield from (_sentence(difference, show_values=show_values) for difference in differences[:SHOWN])
    if any(table.cut for table in report.tables):
        yield f"... and more; the first {len(differences):,} of them: {given.command_text('verify', '--json')}"
    elif len(differences) > SHOWN:
        yield f"... and {len(differences) - SHOWN:,} more; all of them: {given.command_text('verify', '--json')}"
    for table in report.tables:
        yield from _what_happened(table)
    for view in report.views:
        yield from _view(view)
    yield from unusable_lines(found)
    yield from not_moved_lines(found, "compared")
    if report.unproved:
        yield f"NOT PROVED YET, although marked valid: foreign keys {', '.join(report.unproved)}. Rows were written"
        yield "while the target's triggers were silent, and the run did not come to look for those that lack theirs."
    yield from _verdict(report)
    if report.fix and any(table.missing + table.different > table.quarantined for table in report.tables):
        yield "A type of the target that rounds, a trigger that changes what is written, or a column that the target"
        yield "makes by itself, keeps rows different."
    yield f"Next: {following or found['next']}"


def _what_happened(table: TableVerified) -> Words:
    if table.sampled is not None:
        yield f"{table.table}: a sample of {table.sampled:,} of {table.source_rows:,} rows"
    if not table.counts_agree:
        yield f"{table.table}: {table.source_rows:,} rows in the source, {table.target_rows:,} in the target"
        if table.sampled is None:
            yield "  The rows that differ do not explain this: a key is there twice in the source, or rows are hidden."
    if table.changed:
        yield f"{table.table}: {table.changed:,} rows changed while they were verified, and do not differ now"
    if table.left_out:
        yield f"{table.table}: not compared: {', '.join(f'{one.column} ({one.why})' for one in table.left_out)}"
    if table.quarantined:
        yield f"{table.table}: {table.quarantined:,} of these rows were refused by the target and are in quarantine"


def _view(view: ViewCompared) -> Words:
    counts = f"{_count(view.source_rows)} rows in the source, {_count(view.target_rows)} in the target"
    if view.by is None:
        yield f"materialized view {view.view}: not compared: {view.why}"
    elif not view.equal:
        yield f"materialized view {view.view}: not the same: {counts}; {view.why}"
    elif view.by == "count":
        yield (
            f"materialized view {view.view}: {counts}; its rows were not compared, which takes --source postgresql://..."
        )


def _count(rows: int | None) -> str:
    return "unknown" if rows is None else f"{rows:,}"


def _verdict(report: VerifyReport) -> Words:
    rows = sum(table.source_rows for table in report.tables)
    sampled = sum(table.sampled or 0 for table in report.tables)
    what = f"a sample of {sampled:,} of {rows:,} rows" if report.sample is not None else f"{rows:,} rows"
    if fixed := sum(table.fixed for table in report.tables):
        yield f"fixed: {fixed:,} rows were copied again and are equal now"
    if not all(table.clean for table in report.tables):
        counts = "the counts differ; " if any(not table.counts_agree for table in report.tables) else ""
        yield f"NOT the same: {counts}{sum(table.rows_that_differ for table in report.tables):,} rows differ, of {what}"
        if report.stream_stands:
            yield f"They may only be late: {report.stream_stands}"
    elif report.not_moved:
        yield f"NOT all compared: no difference was found in {what} of the other tables"
    elif report.not_usable:
        yield (
            f"NOT usable, though no difference was found in {what}: the application fails, or reads old rows, "
            "where it reads the above"
        )
    elif report.unproved:
        yield f"NOT verified, though no difference was found in {what}: foreign keys are not proved, see above"
    elif report.sample is not None:
        yield f"nothing found in {what}, and equal counts, in {report.seconds:.1f} s; the other rows were not compared"
    else:
        yield f"verified: {what}, no difference, in {report.seconds:.1f} s"


def next_step(report: VerifyReport, given: GivenOptions) -> NextStep:
    """What to do after this verification; where the target's rows are the newer ones, the source is made like them."""
    again = Command("verify")
    if report.instead is not None:
        return report.instead
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
    if to_bring := [t for t in ahead if t.rows_that_differ > t.quarantined or not t.counts_agree]:
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


def verify_document(report: VerifyReport, given: GivenOptions) -> Document:
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


def verify_end(report: VerifyReport, given: GivenOptions) -> StepEnd:
    """The end of a comparison."""
    rows = sum(table.source_rows for table in report.tables)
    differences = {table.table: table.rows_that_differ for table in report.tables if not table.clean}
    differ = sum(differences.values())
    told = f"{rows:,} rows of {len(report.tables):,} tables, {differ:,} differ"
    facts = {"tables": len(report.tables), "rows": rows, "differ": differ, "seconds": round(report.seconds)}
    return StepEnd(report.clean, told, facts, given.text(next_step(report, given)), differences)
