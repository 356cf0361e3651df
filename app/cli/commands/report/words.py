"""What `botdata report --check` says: in words, and as a document."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from app.cli.render import Document, Words, document
from app.report.check import ReportChecked, SideChecked, TableChecked

_SHOWN = 20  # buckets


def checked_words(checked: ReportChecked) -> Words:
    """A line for each side of each table, and the verdict."""
    for table in checked.tables:
        for side, found in _sides(table):
            yield f"{table.table}, {side}: {_sentence(found)}"
        if not _sides(table):
            yield f"{table.table}: not checkable: the report has no hash of it that could be compared"
    verdicts = [table.verdict for table in checked.tables]
    said = ", ".join(f"{verdicts.count(one)} {one}" for one in dict.fromkeys(verdicts)) or "it has no tables"
    if checked.unchanged:
        yield f"all unchanged since {checked.made_at}: {said}"
    else:
        yield f"NOT all unchanged since {checked.made_at}: {said}"


def _sides(table: TableChecked) -> list[tuple[str, SideChecked]]:
    both = (("source", table.source), ("target", table.target))
    return [(side, found) for side, found in both if found is not None]


def _sentence(found: SideChecked) -> str:
    why = f": {found.why}" if found.why else ""
    if found.verdict != "changed" or found.rows_now is None:
        return f"{found.verdict}{why}" if why else f"{found.verdict}, {found.rows_then:,} rows"
    listed = [f"{one.bucket} ({one.rows_then:,} then, {one.rows_now:,} now)" for one in found.buckets[:_SHOWN]]
    more = f" and {len(found.buckets) - _SHOWN:,} more" if len(found.buckets) > _SHOWN else ""
    buckets = f"; rows by bucket: {', '.join(listed)}{more}" if listed else ""
    return f"changed since{why}: {found.rows_then:,} rows then, {found.rows_now:,} now{buckets}"


def checked_document(checked: ReportChecked, file: Path) -> Document:
    """The same for `--json`."""
    return document(
        "report",
        ok=checked.unchanged,
        file=str(file.absolute()),
        made_at=checked.made_at,
        tables=[{"table": one.table, "verdict": one.verdict, **_plain(one)} for one in checked.tables],
    )


def _plain(table: TableChecked) -> dict[str, Any]:
    sides = {"source": table.source, "target": table.target}
    return {side: None if found is None else asdict(found) for side, found in sides.items()}
