"""Columns that one side generates, or both: what the catalogs say decides what is written and compared."""

import pytest
from sqlalchemy import Column, Computed, Integer, MetaData, Numeric, Table, Text
from sqlalchemy.dialects.postgresql import TSVECTOR

from app.errors import MigrationError
from app.migration.preflight.schemas.target_schema import examine_against
from app.migration.runs.report import VerifyReport
from app.migration.sync.options import SyncOptions
from app.migration.sync.sync_report import SyncReport
from app.migration.sync.syncer import Sync
from app.migration.verify.options import VerifyOptions
from tests.fixtures.sources import Ends
from tests.migration.engine import Told, copy_from, execute, query, source_of, verify_from
from tests.preflight.looking import codes, look

_ARTICLES = """
CREATE TABLE articles (id integer PRIMARY KEY, title text NOT NULL, body text,
    fts tsvector GENERATED ALWAYS AS (to_tsvector('english', title || ' ' || coalesce(body, ''))) STORED)
"""
_ARTICLE_ROWS = "INSERT INTO articles (id, title, body) VALUES (1, 'Cats running', NULL), (2, 'О кошках', 'run run')"
_LINES = """
CREATE TABLE lines (id integer PRIMARY KEY, price numeric(10, 2) NOT NULL, pieces integer NOT NULL,
    total numeric(12, 2) GENERATED ALWAYS AS (price * pieces) STORED)
"""
_LINE_ROWS = "INSERT INTO lines (id, price, pieces) VALUES (1, 9.99, 3), (2, 0.05, 7)"
_PLAIN_LINES = _LINES.replace("GENERATED ALWAYS AS (price * pieces) STORED", "")
_MODELS = {"plain": "plain", "computed": "computed"}


def _articles() -> list[Table]:
    """The search column as a hand-written model has it: an ordinary one."""
    return [
        Table(
            "articles",
            MetaData(),
            Column("id", Integer, primary_key=True, autoincrement=False),
            Column("title", Text, nullable=False),
            Column("body", Text),
            Column("fts", TSVECTOR),
        )
    ]


def _lines(model: str = "computed") -> list[Table]:
    total = Column("total", Numeric(12, 2), *([Computed("price * pieces")] if model == "computed" else []))
    names = (Column("id", Integer, primary_key=True), Column("price", Numeric(10, 2)), Column("pieces", Integer))
    return [Table("lines", MetaData(), *names, total)]


async def _sync(ends: Ends, tables: list[Table], *, reverse: bool = False) -> SyncReport:
    told = Told()
    options = SyncOptions(reverse=reverse, target_in_use=reverse, interval=0.01)
    return await Sync(lambda: source_of(ends.served, told=told), ends.target, tables, told, options).run()


def _columns(report: VerifyReport) -> list[tuple[str, str | None]]:
    return [(one.kind, one.column) for one in report.differences]


async def test_a_plain_model_of_a_column_that_both_sides_generate(ends: Ends) -> None:
    ends.make(_ARTICLES, _ARTICLE_ROWS)
    copied = await copy_from(ends.served, ends.target, _articles())
    assert copied.complete
    rows = "SELECT id, fts FROM articles ORDER BY id"
    assert query(ends.target, rows) == query(ends.source, rows)
    report = await verify_from(ends.served, ends.target, _articles())
    assert (report.clean, report.tables[0].left_out) == (True, ())
    again = await copy_from(ends.served, ends.target, _articles())
    assert [(one.unchanged, one.updated) for one in again.tables] == [(2, 0)]


@pytest.mark.parametrize("model", _MODELS)
async def test_a_column_that_the_source_generates_and_the_target_does_not(ends: Ends, model: str) -> None:
    ends.make(_LINES, _LINE_ROWS, _PLAIN_LINES)
    assert (await copy_from(ends.served, ends.target, _lines(model))).complete
    assert query(ends.target, "SELECT id, total::text FROM lines ORDER BY id") == [(1, "29.97"), (2, "0.35")]
    assert (await verify_from(ends.served, ends.target, _lines(model))).clean
    execute(ends.target, "UPDATE lines SET total = NULL WHERE id = 2")
    assert _columns(await verify_from(ends.served, ends.target, _lines(model))) == [("different", "total")]
    options = VerifyOptions(fix=True, pause=0.01)
    assert (await verify_from(ends.served, ends.target, _lines(model), options=options)).clean
    execute(ends.source, "UPDATE lines SET pieces = 8 WHERE id = 2")
    assert (await _sync(ends, _lines(model))).complete
    assert query(ends.target, "SELECT total::text FROM lines WHERE id = 2") == [("0.40",)]


async def test_a_column_that_is_generated_otherwise_is_found(ends: Ends) -> None:
    ends.make(_LINES, _LINE_ROWS, _LINES.replace("price * pieces", "price * pieces + (id - 1)"))
    copied = await copy_from(ends.served, ends.target, _lines())
    assert (copied.complete, copied.tables[0].differ) == (False, 1)
    found = await verify_from(ends.served, ends.target, _lines())
    assert [(one.key, one.column, one.source, one.target) for one in found.differences] == [
        (("2",), "total", "0.35", "1.35")
    ]
    sampled = await verify_from(ends.served, ends.target, _lines(), options=VerifyOptions(sample=2, pause=0.01))
    assert _columns(sampled) == [("different", "total")]
    synced = await _sync(ends, _lines())
    assert (synced.complete, synced.tables["lines"].unsettled) == (False, 1)
    execute(ends.target, "ALTER TABLE lines DROP COLUMN total, ADD total numeric(12, 2)")
    assert (await _sync(ends, _lines())).complete
    assert (await verify_from(ends.served, ends.target, _lines())).clean


async def test_a_column_that_only_the_target_generates(ends: Ends) -> None:
    ends.make(_PLAIN_LINES, "INSERT INTO lines VALUES (1, 9.99, 3, 29.97), (2, 0.05, 7, 1)", _LINES)
    copied = await copy_from(ends.served, ends.target, _lines())
    assert (copied.complete, copied.tables[0].differ) == (False, 1)
    found = await verify_from(ends.served, ends.target, _lines())
    assert [(one.key, one.column, one.source, one.target) for one in found.differences] == [
        (("2",), "total", "1.00", "0.35")
    ]


async def test_a_key_that_the_target_makes_is_named(ends: Ends) -> None:
    made = _PLAIN_LINES.replace("id integer", "id integer GENERATED ALWAYS AS (pieces + 1) STORED")
    ends.make(_PLAIN_LINES, "INSERT INTO lines VALUES (4, 9.99, 3, 29.97)", made)
    with pytest.raises(MigrationError, match="the target makes id of lines by itself") as stopped:
        await copy_from(ends.served, ends.target, _lines())
    execute(ends.target, str(stopped.value.next_step).partition(" in the target")[0])
    assert (await copy_from(ends.served, ends.target, _lines())).complete


@pytest.mark.parametrize("target", [_LINES, _PLAIN_LINES], ids=["both", "source"])
async def test_the_way_back_writes_no_column_that_the_source_generates(ends: Ends, target: str) -> None:
    ends.make(_LINES, _LINE_ROWS, target)
    await copy_from(ends.served, ends.target, _lines())
    execute(ends.target, "UPDATE lines SET pieces = 10; INSERT INTO lines (id, price, pieces) VALUES (3, 2, 2)")
    report = await _sync(ends, _lines(), reverse=True)
    # What the target holds in a plain column is not what the source makes.
    assert (report.complete, report.tables["lines"].unsettled > 0) == (target == _LINES, target != _LINES)
    assert query(ends.source, "SELECT id, total::text FROM lines ORDER BY id") == [
        (1, "99.90"), (2, "0.50"), (3, "4.00")
    ]  # fmt: skip


async def test_the_way_back_says_what_it_cannot_write(ends: Ends) -> None:
    """Over REST it does not show that the source holds a plain column where the target generates it."""
    ends.make(_PLAIN_LINES, "INSERT INTO lines VALUES (1, 9.99, 3, 29.97)", _LINES)
    await copy_from(ends.served, ends.target, _lines())
    execute(ends.target, "INSERT INTO lines (id, price, pieces) VALUES (2, 2, 2)")
    report = await _sync(ends, _lines(), reverse=True)
    total = "4.00" if ends.connected else None
    assert query(ends.source, "SELECT total::text FROM lines WHERE id = 2") == [(total,)]
    assert (report.complete, report.tables["lines"].unsettled) == (ends.connected, 0 if ends.connected else 1)


async def test_verify_says_which_columns_it_left_out(ends: Ends) -> None:
    ends.make(
        _PLAIN_LINES + "; ALTER TABLE lines ADD notes text, ADD both_have text",
        "INSERT INTO lines VALUES (1, 9.99, 3, 29.97, 'n', 'b')",
        _PLAIN_LINES + "; ALTER TABLE lines ADD made_here text DEFAULT 'x', ADD both_have text",
    )
    await copy_from(ends.served, ends.target, _lines("plain"))
    report = await verify_from(ends.served, ends.target, _lines("plain"))
    assert report.clean
    assert [(one.column, one.why) for one in report.tables[0].left_out] == [
        ("both_have", "the models lack it"),
        ("made_here", "only the target has it"),
        ("notes", "only the source has it"),
    ]


async def test_preflight_says_what_becomes_of_them(ends: Ends) -> None:
    ends.make(_ARTICLES + ";" + _LINES, _LINE_ROWS, _ARTICLES + ";" + _PLAIN_LINES)
    models = _articles() + _lines()
    report = await look(ends.served, ends.target, tables=models, examine=examine_against(models))
    assert codes(report) == ["target-column-plain lines.total"]
    assert "target-column-generated articles.fts" in codes(report, "notice")


async def test_preflight_misses_what_is_to_be_copied(ends: Ends) -> None:
    """A column that the models compute is copied into a plain one, so that the source is to have it."""
    ends.make(_LINES, _LINE_ROWS, _PLAIN_LINES)
    execute(ends.source, "ALTER TABLE lines DROP total")
    report = await look(ends.served, ends.target, tables=_lines(), examine=examine_against(_lines()))
    assert codes(report, "error") == ["source-column-missing lines.total"]
    execute(ends.target, "ALTER TABLE lines DROP total, ADD total numeric GENERATED ALWAYS AS (price * pieces) STORED")
    report = await look(ends.served, ends.target, tables=_lines(), examine=examine_against(_lines()))
    assert codes(report) == []
    execute(ends.source, "ALTER TABLE lines ADD more integer GENERATED ALWAYS AS (pieces + 1) STORED")
    execute(ends.target, "ALTER TABLE lines ADD more integer")
    report = await look(ends.served, ends.target, tables=_lines(), examine=examine_against(_lines()))
    assert codes(report, "error") == ["source-column-unknown lines.more"]
