"""Another project's schema through every command that takes `--metadata`, from each kind of source."""

import json
from pathlib import Path

from tests.fixtures.foreign_move import Move
from tests.migration import foreign_schema as foreign
from tests.migration.engine import execute, query, value

FOREIGN_KEYS = (
    "SELECT conname, convalidated FROM pg_constraint "
    "WHERE contype = 'f' AND connamespace = 'public'::regnamespace ORDER BY 1"
)
ROWS = {"depots": 9, "workers": 27, "articles": 6, "stock": 90}


def test_a_clean_move(move: Move) -> None:
    move("preflight")
    tried = move.document("copy --dry-run")
    assert {one["table"] for one in tried["tables"]} == set(ROWS)
    assert query(move.target, "SELECT count(*), to_regnamespace('botdata') FROM depots") == [(0, None)]
    move("copy")
    assert move.equal()
    assert "no difference" in move("verify").out
    assert value(move.target, "SELECT nextval(pg_get_serial_sequence('workers', 'id'))") == 28
    move("migrate")
    move("copy --restart")
    moved = move.document("migrate")
    assert (moved["upgrade"], moved["verify"]["ok"]) == (None, True)
    assert [one["unchanged"] for one in moved["copy"]["tables"]] == [
        one["source_rows"] for one in moved["copy"]["tables"]
    ]
    move.document("verify --sample 5")
    names = {table["table"] for table in json.loads(move.command("status", "--json", **move.settings).out)["tables"]}
    assert names == set(foreign.TABLES)
    assert query(move.target, FOREIGN_KEYS) == [
        ("depots_keeper", True), ("stock_article_fkey", True), ("stock_depot_fkey", True), ("workers_depot_fkey", True),
    ]  # fmt: skip
    move.command("uninstall", "--yes", **move.settings)
    assert value(move.target, "SELECT to_regnamespace('botdata')") is None


def test_a_row_that_is_refused(move: Move, tmp_path: Path) -> None:
    execute(move.source, "UPDATE articles SET price = -1 WHERE code = 'B'")
    copied = move.document("copy", code=1)
    refused = {table["table"]: table["refused"] for table in copied["tables"] if table["refused"]}
    assert refused == {"articles": [{"key": ["B"], "sqlstate": "23514", "place": "price_is_none"}]}
    found = [one for table in move.document("verify", code=1)["tables"] for one in table["differences"]]
    assert [(one["kind"], one["key"]) for one in found] == [("missing", ["B"])]
    (row,) = move.document("quarantine list")["rows"]
    shown = json.loads(move.command("quarantine", "show", str(row["number"]), "--json", **move.settings).out)
    assert shown["row"]["price"] == "-1"
    file = tmp_path / "refused.json"
    move(f"quarantine export {file}")
    file.write_text(file.read_text().replace('"price": "-1"', '"price": "2.50"'))
    assert move.command("quarantine", "import", str(file), **move.settings).code == 0
    move("quarantine replay")
    execute(move.source, "UPDATE articles SET price = 2.50 WHERE code = 'B'")
    move("verify")
    assert move.equal()


CHANGES = """
UPDATE workers SET mood = 'calm', badge = '\\x00' WHERE id = 2;
UPDATE articles SET price = price + 1, fits = 'empty' WHERE code = 'a';
DELETE FROM stock WHERE day < '0001-01-01';
INSERT INTO stock SELECT code, id, '2026-02-02', -1 FROM articles, depots WHERE code = 'B';
DELETE FROM stock WHERE depot = md5('9')::uuid;
DELETE FROM workers WHERE depot = md5('9')::uuid;
DELETE FROM depots WHERE id = md5('9')::uuid;
INSERT INTO depots VALUES (md5('new')::uuid, 'depot 9', NULL, '2026-03-01 00:00:00+00');
INSERT INTO workers (depot) VALUES (md5('new')::uuid);
"""
IN_A_CYCLE = "UPDATE depots SET keeper = (SELECT max(id) FROM workers) WHERE name = 'depot 9'"


def test_changes_are_brought(move: Move) -> None:
    move("copy")
    assert move.document("sync")["rounds"] == 1
    execute(move.source, CHANGES + IN_A_CYCLE)
    assert not move.equal()
    synced = move.document("sync --until-clean")
    changed = {one["table"]: (one["inserted"], one["updated"], one["deleted"]) for one in synced["tables"]}
    assert changed["depots"] == (1, 0, 1)
    assert changed["workers"] == (1, 1, 3)
    assert move.equal()
    move("verify")
    execute(
        move.target, "UPDATE depots SET name = 'planted' WHERE name = 'depot 3'; DELETE FROM stock WHERE pieces < 0"
    )
    found = [one for table in move.document("verify", code=1)["tables"] for one in table["differences"]]
    assert {one["kind"] for one in found} == {"different", "missing"}
    move("verify --fix")
    move("verify")
    assert move.equal()
