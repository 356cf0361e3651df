"""What `botdata quarantine ...` says: in words and tables, and as JSON."""

import shlex
from typing import Any

from app.cli.given_options import GivenOptions
from app.cli.output import document, say, show_table
from app.cli.reports.leftovers_report import not_usable_list, show_leftovers
from app.common.keys import Key
from app.migration.quarantine.quarantined_rows import QuarantineList, RefusedRow
from app.migration.quarantine.replay import ReplayReport, TableReplayed
from app.next_step import Command, NextStep

_SHOWN = 20


def show_list(listed: QuarantineList, given: GivenOptions) -> None:
    """Print the reasons, the rows, and what to do next."""
    if not listed.total:
        say("quarantine: empty")
        return
    show_table(
        ["table", "SQLSTATE", "place", "rows"],
        [[reason.table, reason.sqlstate, reason.place or "", f"{reason.rows:,}"] for reason in listed.reasons],
        numbers=frozenset({3}),
    )
    if listed.rows:
        say()
        show_table(
            ["number", "table", "key", "SQLSTATE", "place", "refused at"],
            [
                [
                    str(row.number),
                    row.table,
                    _text(row.key),
                    row.sqlstate,
                    row.place or "",
                    row.refused_at,
                ]
                for row in listed.rows
            ],
            numbers=frozenset({0}),
        )
    if listed.total > len(listed.rows):
        say(f"... and {listed.total - len(listed.rows):,} more; all of them: --limit {listed.total}")
    say(f"quarantine: {listed.total:,} rows")
    say(
        f"Next: botdata quarantine show {listed.rows[0].number if listed.rows else 'N'}, then mend the target's schema,"
    )
    export, replay = given.command_text("quarantine export", "refused.json"), given.command_text("quarantine replay")
    say(f"or the rows ({export}), then: {replay}")


def list_document(listed: QuarantineList) -> dict[str, Any]:
    """The list for `--json`."""
    return document(
        "quarantine list",
        ok=True,
        total=listed.total,
        reasons=[
            {"table": one.table, "sqlstate": one.sqlstate, "place": one.place, "rows": one.rows}
            for one in listed.reasons
        ],
        rows=[
            {
                "number": row.number,
                "table": row.table,
                "key": list(row.key),
                "sqlstate": row.sqlstate,
                "place": row.place,
                "refused_at": row.refused_at,
            }
            for row in listed.rows
        ],
    )


def show_row(row: RefusedRow) -> None:
    """Print a row with its values."""
    place = f" ({row.place})" if row.place else ""
    say(f"row {row.number}: {row.table} {_text(row.key)}")
    message = f": {row.message}" if row.message else "; of rows of this table only the key is kept"
    say(f"refused at {row.refused_at}: SQLSTATE {row.sqlstate}{place}{message}")
    show_table(["column", "value"], [[name, "NULL" if text is None else repr(text)] for name, text in row.row.items()])


def row_document(row: RefusedRow) -> dict[str, Any]:
    """A row for `--json`, with its values."""
    return document(
        "quarantine show",
        ok=True,
        number=row.number,
        table=row.table,
        key=list(row.key),
        sqlstate=row.sqlstate,
        message=row.message,
        place=row.place,
        refused_at=row.refused_at,
        row=row.row,
    )


def show_replay(report: ReplayReport, given: GivenOptions) -> None:
    """Print what went in, what did not and why, how many rows remain, and what to do next."""
    if not report.chosen:
        say("quarantine: empty; nothing to replay" if not report.remaining else "quarantine: no rows of these tables")
        return
    show_table(
        ["table", "loaded", "refused", "left alone"],
        [
            [
                one.table,
                f"{one.loaded:,}",
                f"{len(one.refused):,}",
                f"{len(one.later) + len(one.stale) + len(one.without_values):,}",
            ]
            for one in report.tables
            if one.known
        ],
        numbers=frozenset({1, 2, 3}),
    )
    for table in report.tables:
        _show_rows_that_stay(table)
    show_leftovers(report.not_usable)
    remain = f"{report.remaining:,} remain in quarantine" if report.remaining else "none remain in quarantine"
    say(f"replay: {report.loaded:,} of {report.chosen:,} rows loaded, {remain}")
    if report.complete:
        say(f"Next: {given.command_text('quarantine list' if report.remaining else 'verify')}")
    elif lacking := [table.table for table in report.tables if table.without_values]:
        read_anew = Command("sync", f"--tables {shlex.quote(','.join(lacking))}")
        say(f"Next: mend what refused these rows, then: {given.text(NextStep(read_anew))}")
    else:
        again = given.command_text("quarantine list")
        say(f"Next: {again}; mend the target's schema, or the rows (botdata quarantine export)")


def _show_rows_that_stay(table: TableReplayed) -> None:
    if not table.known:
        say(f"{table.table}: no such table among the tables to move (--metadata); its rows were left alone")
    for refusal in table.refused[:_SHOWN]:
        place = f" ({refusal.place})" if refusal.place else ""
        say(f"refused: {table.table} {_text(refusal.key)}: SQLSTATE {refusal.sqlstate}{place}")
    if len(table.refused) > _SHOWN:
        say(f"... and {len(table.refused) - _SHOWN:,} more")
    if table.later:
        say(f"{table.table}: these rows are in the target, written later than by that run: {_some(table.later)}")
        say("An ALTER TABLE may have written them too. --overwrite replaces them by the rows in quarantine.")
    if table.stale:
        say(f"{table.table}: these rows have other columns than the table has now: {_some(table.stale)}")
        say(f"Read them anew: botdata copy --tables {shlex.quote(table.table)}")
    if table.without_values:
        keys = _some(table.without_values)
        say(f"{table.table}: only keys of these rows are kept, which cannot be loaded: {keys}")


def replay_document(report: ReplayReport) -> dict[str, Any]:
    """The replay for `--json`."""
    return document(
        "quarantine replay",
        ok=report.complete,
        chosen=report.chosen,
        loaded=report.loaded,
        remaining=report.remaining,
        tables=[
            {
                "table": table.table,
                "known": table.known,
                "loaded": table.loaded,
                "refused": [
                    {"key": list(one.key), "sqlstate": one.sqlstate, "place": one.place} for one in table.refused
                ],
                "later": [list(key) for key in table.later],
                "stale": [list(key) for key in table.stale],
                "without_values": [list(key) for key in table.without_values],
            }
            for table in report.tables
        ],
        not_usable=not_usable_list(report.not_usable),
    )


def _text(key: Key) -> str:
    return ", ".join(key)


def _some(keys: list[Key]) -> str:
    return "; ".join(map(_text, keys[:_SHOWN])) + ("; ..." if len(keys) > _SHOWN else "")
