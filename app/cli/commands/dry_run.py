"""What `botdata copy --dry-run` does and says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from app.cli.given_options import GivenOptions

if TYPE_CHECKING:
    from app.cli.work import Work
    from app.migration.copy.dry_run import DryRunReport, TableTried

_SHOWN = 20


def try_copy(work: Work, *, sample: int | None, most_refused: int, as_json: bool) -> None:
    """Copy for trial; exit code 1 where something would be refused.

    Args:
        most_refused: what the copy itself would be told by --max-quarantine.
    """
    from app.cli.output import show_json
    from app.migration.copy.dry_run import dry_run

    report = work.run("dry run", lambda source, bars: dry_run(source, work.target, work.tables, bars, sample=sample))
    if as_json:
        show_json(dry_run_document(report))
    else:
        show_dry_run(report, work.given, most_refused=most_refused)
    if not report.clean:
        raise typer.Exit(1)


def show_dry_run(report: DryRunReport, given: GivenOptions, *, most_refused: int) -> None:
    """Print counts a table, what would be refused and why, what the real run needs, and what was not checked."""
    from app.cli.output import say, show_table
    from app.cli.reports.leftovers_report import not_moved_next, show_not_moved
    from app.migration.copy.dry_run import UNCHECKED

    show_table(
        ["table", "source", "tried", "refused", "seconds for all", "MB for all"],
        [_counts(table) for table in report.tables],
        numbers=frozenset(range(1, 6)),
    )
    for table in report.tables:
        for (sqlstate, place), rows in table.refused.most_common():
            named = f" ({place})" if place else ""
            keys = [", ".join(one.key) for one in table.examples if (one.sqlstate, one.place) == (sqlstate, place)]
            shown = f": {'; '.join(keys[:_SHOWN])}{'; ...' if rows > len(keys) else ''}" if keys else ""
            say(f"would be refused: {rows:,} rows of {table.table}: SQLSTATE {sqlstate}{named}{shown}")
    tried = sum(table.tried for table in report.tables)
    refused = sum(table.refused.total() for table in report.tables)
    seconds, size = (sum(getattr(one, f"expected_{what}") for one in report.tables) for what in ("seconds", "bytes"))
    if report.sample is not None:
        say(f"This was a sample: at most {report.sample:,} rows of each table, picked at random over all keys.")
    say(f"The copy should take about {_duration(seconds)} at most, and {_megabytes(size)} MB on the target's disk.")
    show_not_moved(report.not_moved, "tried")
    say(f"Not checked: {'; '.join(UNCHECKED)}.")
    if report.clean:
        say(f"dry run: {tried:,} rows tried, none would be refused. Next: {given.command_text('copy')}")
        return
    say(f"dry run: {tried:,} rows tried, {refused:,} would be refused")
    if report.not_moved and not refused:
        say(f"Next: {given.text(not_moved_next(report.not_moved, 'copy --dry-run'))}")
        return
    if refused > most_refused:
        say(f"That is more than --max-quarantine ({most_refused:,}): the copy would stop. Compare the two schemas.")
    say(f"Next: mend the rows at the source, or the target's schema, then: {given.command_text('copy --dry-run')}")
    say(f"or let the copy put them into quarantine: {given.command_text('copy')}")


def dry_run_document(report: DryRunReport) -> dict[str, Any]:
    """The dry run for `--json`."""
    from app.cli.output import document
    from app.cli.reports.leftovers_report import not_moved_list
    from app.migration.copy.dry_run import UNCHECKED

    return document(
        "copy",
        ok=report.clean,
        dry_run=True,
        sample=report.sample,
        seconds=round(report.seconds, 3),
        expected_seconds=round(sum(table.expected_seconds for table in report.tables), 3),
        expected_bytes=sum(table.expected_bytes for table in report.tables),
        not_checked=list(UNCHECKED),
        tables=[
            {
                "table": table.table,
                "source_rows": table.rows,
                "tried": table.tried,
                "refused": [
                    {"sqlstate": sqlstate, "place": place, "rows": rows}
                    for (sqlstate, place), rows in table.refused.most_common()
                ],
                "examples": [
                    {"key": list(one.key), "sqlstate": one.sqlstate, "place": one.place} for one in table.examples
                ],
                "expected_seconds": round(table.expected_seconds, 3),
                "expected_bytes": table.expected_bytes,
            }
            for table in report.tables
        ],
        not_moved=not_moved_list(report.not_moved),
    )


def _counts(table: TableTried) -> list[str]:
    return [
        table.table,
        f"{table.rows:,}",
        f"{table.tried:,}",
        f"{table.refused.total():,}",
        f"{table.expected_seconds:,.1f}",
        _megabytes(table.expected_bytes),
    ]


def _megabytes(size: float) -> str:
    return f"{size / 1_000_000:,.1f}"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.1f} s" if seconds < 120 else f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
