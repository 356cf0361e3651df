"""What `botdata quarantine ...` says: in words and tables, and as JSON."""

import shlex

from app.cli.options import GivenOptions
from app.cli.render import Document, Table, Words, document, reason
from app.cli.reports.leftovers_report import not_usable_list, refused_lines, refused_list, some_keys, unusable_lines
from app.migration.quarantine.quarantined_rows import QuarantineList, RefusedRow
from app.migration.quarantine.replay import ReplayReport
from app.next_step import Command, NextStep


def list_words(found: Document, given: GivenOptions) -> Words:
    """The reasons, the rows, and what to do next."""
    total, rows = found["total"], found["rows"]
    if not total:
        yield "quarantine: empty"
        return
    reasons = [{**one, "place": one["place"] or ""} for one in found["reasons"]]
    yield Table.of(reasons, {"table": "table", "sqlstate": "SQLSTATE", "place": "place", "rows": "rows"}, texts=3)
    if rows:
        yield ""
        yield Table(
            ["number", "table", "key", "SQLSTATE", "place", "refused at"],
            [
                [
                    str(row["number"]),
                    row["table"],
                    ", ".join(row["key"]),
                    row["sqlstate"],
                    row["place"] or "",
                    row["refused_at"],
                ]
                for row in rows
            ],
            numbers={0},
        )
    if total > len(rows):
        yield f"... and {total - len(rows):,} more; all of them: --limit {total}"
    yield f"quarantine: {total:,} rows"
    yield f"Next: botdata quarantine show {rows[0]['number'] if rows else 'N'}, then mend the target's schema,"
    export, replay = given.command_text("quarantine export", "refused.json"), given.command_text("quarantine replay")
    yield f"or the rows ({export}), then: {replay}"


def list_document(listed: QuarantineList) -> Document:
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


def row_words(found: Document) -> Words:
    """A row with its values."""
    yield f"row {found['number']}: {found['table']} {', '.join(found['key'])}"
    message = f": {found['message']}" if found["message"] else "; of rows of this table only the key is kept"
    yield f"refused at {found['refused_at']}: {reason(found)}{message}"
    values = [[name, "NULL" if text is None else repr(text)] for name, text in found["row"].items()]
    yield Table(["column", "value"], values)


def row_document(row: RefusedRow) -> Document:
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


def replay_words(report: ReplayReport, found: Document, given: GivenOptions) -> Words:
    """What went in, what did not and why, how many rows remain, and what to do next."""
    if not report.chosen:
        yield "quarantine: empty; nothing to replay" if not report.remaining else "quarantine: no rows of these tables"
        return
    left_alone = ("later", "stale", "without_values")
    known = [{**one, "left": sum(len(one[why]) for why in left_alone)} for one in found["tables"] if one["known"]]
    headings = {"table": "table", "loaded": "loaded", "refused": "refused", "left": "left alone"}
    yield Table.of(known, headings)
    for table in found["tables"]:
        yield from _rows_that_stay(table)
    yield from unusable_lines(found)
    remain = f"{report.remaining:,} remain in quarantine" if report.remaining else "none remain in quarantine"
    yield f"replay: {report.loaded:,} of {report.chosen:,} rows loaded, {remain}"
    if report.complete:
        yield f"Next: {given.command_text('quarantine list' if report.remaining else 'verify')}"
    elif lacking := [table.table for table in report.tables if table.without_values]:
        read_anew = Command("sync", f"--tables {shlex.quote(','.join(lacking))}")
        yield f"Next: mend what refused these rows, then: {given.text(NextStep(read_anew))}"
    else:
        again = given.command_text("quarantine list")
        yield f"Next: {again}; mend the target's schema, or the rows (botdata quarantine export)"


def _rows_that_stay(table: Document) -> Words:
    name = table["table"]
    if not table["known"]:
        yield f"{name}: no such table among the tables to move (--metadata); its rows were left alone"
    yield from refused_lines([table])
    if table["later"]:
        yield f"{name}: these rows are in the target, written later than by that run: {some_keys(table['later'])}"
        yield "An ALTER TABLE may have written them too. --overwrite replaces them by the rows in quarantine."
    if table["stale"]:
        yield f"{name}: these rows have other columns than the table has now: {some_keys(table['stale'])}"
        yield f"Read them anew: botdata copy --tables {shlex.quote(name)}"
    if table["without_values"]:
        keys = some_keys(table["without_values"])
        yield f"{name}: only keys of these rows are kept, which cannot be loaded: {keys}"


def replay_document(report: ReplayReport) -> Document:
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
                "refused": refused_list(table.refused),
                "later": [list(key) for key in table.later],
                "stale": [list(key) for key in table.stale],
                "without_values": [list(key) for key in table.without_values],
            }
            for table in report.tables
        ],
        not_usable=not_usable_list(report.not_usable),
    )
