"""The export that a person edits, and everything that an edited file may get wrong."""

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from app.errors import MigrationError
from app.migration.quarantine import quarantine_file
from app.migration.quarantine.quarantine_file import ImportReport, export_rows, import_rows
from app.migration.quarantine.quarantined_rows import RefusedRow, show_quarantined
from app.migration.quarantine.replay import replay
from app.models import Base
from tests.migration.engine import copy_from, execute, query, tables, value
from tests.migration.test_quarantine import FAULTY
from tests.migration.test_replay import fill_faulty
from tests.support.page_server import PageServer

_ROWS = "SELECT number, row_text::text FROM botdata.quarantine ORDER BY number"


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")


@pytest.fixture
async def refused(pages: PageServer, source_database: str, database_url: str) -> str:
    """A target with seven clients in quarantine."""
    fill_faulty(source_database)
    await copy_from(pages, database_url, tables("clients"))
    return database_url


@pytest.fixture
async def exported(refused: str, tmp_path: Path) -> Path:
    """Their export."""
    path = tmp_path / "refused.json"
    assert await export_rows(refused, Base.metadata, path) == 7
    return path


async def test_what_is_exported(exported: Path, refused: str) -> None:
    rows = _rows(exported)
    assert [row["key"] for row in rows] == [[str(number)] for number in FAULTY]
    assert [(row["sqlstate"], row["place"]) for row in rows] == [reason[1:] for reason in FAULTY.values()]
    assert {row["table"] for row in rows} == {"clients"}
    assert [row["number"] for row in rows] == [number for number, _ in query(refused, _ROWS)]
    assert rows[0]["row"] == (await show_quarantined(refused, rows[0]["number"])).row
    assert (rows[0]["row"]["name"], rows[1]["row"]["phone"]) == ("я" * 256, None)
    with exported.open(encoding="utf-8") as lines:
        assert f'"name": "{"я" * 256}"' in next(lines)  # a line a row, letters as they are


async def test_only_its_owner_may_read_it_whatever_the_umask(refused: str, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        await export_rows(refused, Base.metadata, tmp_path / "open.json")
        (tmp_path / "old.json").write_text("")
        await export_rows(refused, Base.metadata, tmp_path / "old.json", force=True)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "open.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "old.json").stat().st_mode) == 0o600


async def test_no_file_is_overwritten_and_no_link_followed(refused: str, exported: Path, tmp_path: Path) -> None:
    _write(exported, [])
    with pytest.raises(MigrationError, match="is there already"):
        await export_rows(refused, Base.metadata, exported)
    assert _rows(exported) == []
    (tmp_path / "link.json").symlink_to(exported)
    await export_rows(refused, Base.metadata, tmp_path / "link.json", force=True)
    assert _rows(exported) == []
    assert not (tmp_path / "link.json").is_symlink()


async def test_nothing_to_export_makes_no_file(database_url: str, tmp_path: Path) -> None:
    assert await export_rows(database_url, Base.metadata, tmp_path / "none.json") == 0
    assert not (tmp_path / "none.json").exists()


async def test_edited_and_replayed(exported: Path, refused: str) -> None:
    rows = _rows(exported)
    numbers = [row["number"] for row in rows]
    edits: list[dict[str, str | None]] = [
        {"name": 'Анна "🙂"\n'}, {"phone": "79000000017"}, {"yclients_id": "1000"}, {"total_spent": "1.50"},
        {"visit_count": "3"}, {"last_sync_at": None},
    ]  # fmt: skip
    for row, edit in zip(rows, edits, strict=False):
        row["row"] |= edit
    _write(exported, rows)
    assert await import_rows(refused, exported) == ImportReport(tuple(numbers[:6]), (numbers[6],))
    report = await replay(refused, Base.metadata)
    assert (report.loaded, [refusal.key for refusal in report.tables[0].refused]) == (6, [("64",)])
    came = query(
        refused, "SELECT name, total_spent::text, last_sync_at FROM clients WHERE id IN (5, 40, 63) ORDER BY id"
    )
    assert came == [
        ('Анна "🙂"\n', None, None), ("name40", "1.50", None), ("name63", None, None),
    ]  # fmt: skip


async def test_an_untouched_file_changes_nothing(exported: Path, refused: str) -> None:
    before = query(refused, _ROWS)
    report = await import_rows(refused, exported)
    assert (report.changed, len(report.unchanged)) == ((), 7)
    assert query(refused, _ROWS) == before


def _edit(exported: Path, **changes: Any) -> None:
    """Change the second row's parts; a value of None takes the part away."""
    rows = _rows(exported)
    rows[0]["row"]["name"] = "good"
    for name, part in changes.items():
        if part is None:
            del rows[1][name]
        else:
            rows[1][name] = {**rows[1]["row"], **part} if name == "row" else part
    _write(exported, rows)


@pytest.mark.parametrize(
    ("changes", "mistake"),
    [
        ({"number": 99999}, "row 99999 is not in quarantine"),
        ({"number": 2**63}, "number is not the number of a row"),
        ({"number": "7"}, "number is not the number of a row"),
        ({"number": True}, "number is not the number of a row"),
        ({"number": None}, "number is missing"),
        ({"table": "bookings"}, "row {number} is of table clients, which cannot be changed"),
        ({"table": []}, "row {number} is of table clients, which cannot be changed"),
        ({"key": ["18"]}, r"row {number}: its key \(id\) says which row it is and cannot be changed"),
        ({"row": {"id": "18"}}, r"row {number}: its key \(id\) says which row it is and cannot be changed"),
        ({"row": {"nick": "x"}}, "row {number}: no such columns: nick"),
        ({"row": {"visit_count": 5}}, "column visit_count is neither a text in quotes nor null"),
        ({"row": {"name": "a\0b"}}, "column name holds a character that PostgreSQL cannot"),
        ({"row": {"name": "\ud83d"}}, "column name holds a character that PostgreSQL cannot"),
        ({"rwo": {}}, "not known: rwo"),
        ({"row": None}, "row is missing"),
    ],
)
async def test_a_row_that_cannot_be_taken(exported: Path, refused: str, changes: dict[str, Any], mistake: str) -> None:
    before = query(refused, _ROWS)
    _edit(exported, **changes)
    with pytest.raises(MigrationError, match=rf"line 2: {mistake.format(number=before[1][0])}$") as stopped:
        await import_rows(refused, exported)
    assert stopped.value.step == "quarantine import"
    assert query(refused, _ROWS) == before  # the good row was not taken either


async def test_a_column_taken_away_and_a_row_twice(exported: Path, refused: str) -> None:
    rows = _rows(exported)
    del rows[0]["row"]["name"]
    rows[1]["row"]["id"] = None
    _write(exported, rows)
    with pytest.raises(MigrationError) as stopped:
        await import_rows(refused, exported)
    (first, second) = stopped.value.message.splitlines()[1:]
    assert first == f"line 1: row {rows[0]['number']}: columns are missing: name"
    assert second.endswith(f"row {rows[1]['number']}: its key (id) says which row it is and cannot be changed")
    _write(exported, [rows[2], rows[2]])
    with pytest.raises(MigrationError, match=f"row {rows[2]['number']} is there twice, in line 1 too"):
        await import_rows(refused, exported)


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("[\n", "line 1: not JSON: Expecting value at character 2"),
        ("\n{}\n,", "line 3: not JSON: Expecting value at character 1"),
        ('{"number": 1 "table": 2}', "line 1: not JSON: Expecting ',' delimiter at character 14"),
        ('\n{"number": 1,\n"table": 2}', "line 3: not JSON: Extra data at character 8"),
        ("[1, 2]", "line 1: not a row: it should be an object with number, table, key and row, on one line"),
        ('\r\n{"row": {"a": "", "a": ""}}', "line 2: 'a' is there twice in the row"),
        ('\n{"number": 1' + "0" * 5000 + "}", "line 2: not a row"),
        ("\n" + "[" * 100_000, "line 2: not a row"),
    ],
)
async def test_no_file_of_rows(tmp_path: Path, refused: str, text: str, mistake: str) -> None:
    (tmp_path / "edited.json").write_text(text)
    with pytest.raises(MigrationError) as stopped:
        await import_rows(refused, tmp_path / "edited.json")
    assert mistake in stopped.value.message.splitlines()


async def test_not_utf_8(tmp_path: Path, refused: str) -> None:
    (tmp_path / "edited.json").write_bytes('\n"Анна"'.encode("cp1251"))
    with pytest.raises(MigrationError, match="line 2: not UTF-8"):
        await import_rows(refused, tmp_path / "edited.json")


@pytest.mark.parametrize("text", ["", "\ufeff\n \r\n"])
async def test_a_file_without_rows_changes_nothing(tmp_path: Path, refused: str, text: str) -> None:
    (tmp_path / "edited.json").write_text(text, "utf-8")
    assert await import_rows(refused, tmp_path / "edited.json") == ImportReport((), ())
    assert value(refused, "SELECT count(*) FROM botdata.quarantine") == 7


async def test_a_file_for_a_target_where_the_tool_has_never_been(exported: Path, fresh_database: str) -> None:
    with pytest.raises(MigrationError, match="is not in quarantine"):
        await import_rows(fresh_database, exported)
    execute(fresh_database, "SELECT 1")


async def test_half_an_export_is_not_left_behind(refused: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    original = quarantine_file._written

    def fail_at_third(row: RefusedRow) -> str:
        written.append(row.number)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(row)

    monkeypatch.setattr(quarantine_file, "_written", fail_at_third)
    with pytest.raises(OSError, match="No space"):
        await export_rows(refused, Base.metadata, tmp_path / "half.json")
    assert os.listdir(tmp_path) == []
