"""Copy and verify say what the target adds, hides or has besides; sides that move are no difference."""

from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text
from sqlalchemy.engine import make_url

from app.errors import MigrationError
from app.migration.copy import completeness, range_copier
from app.migration.copy.copier import CopyOptions
from app.migration.tables.metadata import select_tables
from app.migration.verify import hash_comparison as compare_hashes
from app.migration.verify import keyed_comparison
from app.migration.verify.options import VerifyOptions
from tests.fixtures.sources import MakeSource, served_in_pages
from tests.migration.engine import copy_from, execute, query, value, verify_from
from tests.migration.shown import show_copy
from tests.migration.two_ends import sync_from
from tests.support.faults import Request
from tests.support.postgres import PostgresServer

METADATA = MetaData()
Table("items", METADATA, Column("id", Integer, primary_key=True, autoincrement=False), Column("name", Text))
CHOSEN = select_tables(METADATA)
TABLE = "CREATE TABLE items (id integer PRIMARY KEY, name text);"
SOURCE = f"{TABLE} INSERT INTO items SELECT n, 'item ' || n FROM generate_series(1, 20) n;"
_QUICK = VerifyOptions(pause=0.01)


def rows_of(url: str) -> list[tuple[int, str]]:
    return query(url, "SELECT id, name FROM items ORDER BY id")


# --- What the target does by itself ---

_ADDS = """
CREATE FUNCTION also() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF new.id < 100 THEN INSERT INTO items VALUES (new.id + 100, 'made by the target'); END IF; RETURN NULL; END $$;
CREATE TRIGGER also AFTER INSERT ON items FOR EACH ROW WHEN (new.id IN (3, 4)) EXECUTE FUNCTION also();
ALTER TABLE items ENABLE ALWAYS TRIGGER also;
"""
_SWALLOWS = """
CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER swallow BEFORE INSERT ON items FOR EACH ROW WHEN (new.id = 7) EXECUTE FUNCTION swallow();
ALTER TABLE items ENABLE ALWAYS TRIGGER swallow;
"""


async def test_rows_that_a_trigger_adds(
    make_source: MakeSource, fresh_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_source(SOURCE)
    execute(fresh_database, TABLE + _ADDS)
    report = await copy_from(source, fresh_database, CHOSEN)
    (table,) = report.tables
    assert (report.complete, table.copied, table.went, table.missing) == (False, 20, 2, ())
    show_copy(report)
    shown = capsys.readouterr()
    assert "items: 2 rows of the target are not in the source (any more)" in shown.out + shown.err
    verified = await verify_from(source, fresh_database, CHOSEN)
    (found,) = verified.tables
    assert (verified.clean, found.source_rows, found.target_rows, found.extra) == (False, 20, 22, 2)
    assert [one.key for one in found.differences] == [("103",), ("104",)]


async def test_rows_that_a_trigger_keeps_out(make_source: MakeSource, fresh_database: str) -> None:
    source = make_source(SOURCE)
    execute(fresh_database, TABLE + _SWALLOWS)
    report = await copy_from(source, fresh_database, CHOSEN)
    assert (report.complete, report.tables[0].missing) == (False, (("7",),))
    verified = await verify_from(source, fresh_database, CHOSEN)
    (found,) = verified.tables
    assert (verified.clean, found.source_rows, found.target_rows, found.missing) == (False, 20, 19, 1)


async def test_a_target_that_counts_fewer_rows_than_it_was_given(
    make_source: MakeSource, fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_source(SOURCE)
    execute(fresh_database, TABLE)
    count = completeness.count_target

    async def one_is_hidden(*given: Any) -> int:
        return await count(*given) - 1

    for module in (completeness, range_copier):
        monkeypatch.setattr(module, "count_target", one_is_hidden)
    report = await copy_from(source, fresh_database, CHOSEN)
    assert not report.complete
    assert report.tables[0].disagreement == (
        "the source counts 20 rows, and 20 came; the target holds 19: rows of the target are hidden from this role, "
        "or a trigger or rule of it adds or keeps rows"
    )


@pytest.mark.separate_server
async def test_rows_that_a_policy_of_the_target_hides(make_source: MakeSource, fresh_database: str) -> None:
    source = make_source(SOURCE)
    execute(fresh_database, TABLE)
    assert (await copy_from(source, fresh_database, CHOSEN)).complete
    role = f"blinkered_{value(fresh_database, 'SELECT current_database()')}"
    execute(
        fresh_database,
        f'CREATE ROLE "{role}" LOGIN PASSWORD \'blinkered\'; GRANT ALL ON items TO "{role}"; '
        f'GRANT USAGE ON SCHEMA botdata TO "{role}"; GRANT ALL ON ALL TABLES IN SCHEMA botdata TO "{role}"; '
        "ALTER TABLE items ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON items USING (id < 20)",
    )
    try:
        url = make_url(fresh_database).set(username=role, password="blinkered")
        blinkered = url.render_as_string(hide_password=False)
        for step in (copy_from, verify_from, sync_from):
            with pytest.raises(MigrationError, match="row-level security"):
                await step(source, blinkered, CHOSEN)
        assert rows_of(fresh_database) == rows_of(source.database_url)
    finally:
        execute(fresh_database, f'DROP OWNED BY "{role}"; DROP ROLE "{role}"')


async def test_extra_rows_of_the_target(
    make_source: MakeSource, fresh_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_source(SOURCE)
    execute(fresh_database, f"{TABLE} INSERT INTO items VALUES (21, 'of another'), (22, 'of another')")
    report = await copy_from(source, fresh_database, CHOSEN, options=CopyOptions(overwrite=True))
    assert (report.complete, report.tables[0].went, report.tables[0].disagreement) == (False, 2, None)
    show_copy(report)
    shown = capsys.readouterr()
    words = " ".join((shown.out + shown.err).split())
    assert "items: 2 rows of the target are not in the source (any more)" in words
    assert "copy NOT complete: 20 rows copied" in words
    assert "The target holds rows that the source does not have (any more): a sync deletes them." in words
    assert words.endswith("Next: botdata sync")
    assert (await sync_from(source, fresh_database, CHOSEN, overwrite=True)).tables["items"].deleted == 2
    assert (await copy_from(source, fresh_database, CHOSEN)).complete
    assert rows_of(fresh_database) == rows_of(source.database_url)


# --- Sides that move while they are verified ---


def _insert(urls: tuple[str, ...], number: int) -> None:
    for url in urls:
        execute(url, f"INSERT INTO items VALUES ({number}, 'item {number}')")


@pytest.mark.parametrize("first", ["source", "target"])
@pytest.mark.parametrize("make_source", ["connection"], indirect=True)
async def test_a_row_that_comes_between_two_hashes(
    make_source: MakeSource, fresh_database: str, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    source = make_source(SOURCE)
    execute(fresh_database, TABLE)
    assert (await copy_from(source, fresh_database, CHOSEN)).complete
    hash_both = compare_hashes.hash_both
    came = iter([21])

    async def at_two_moments(*given: Any) -> Any:
        theirs, ours = await hash_both(*given)
        for number in came:
            _insert((source.database_url, fresh_database), number)
            later = await hash_both(*given)
            return (theirs, later[1]) if first == "source" else (later[0], ours)
        return theirs, ours

    monkeypatch.setattr(compare_hashes, "hash_both", at_two_moments)
    report = await verify_from(source, fresh_database, CHOSEN, options=_QUICK)
    (found,) = report.tables
    assert (report.clean, found.counts_agree, found.rows_that_differ) == (True, True, 0)
    assert (found.source_rows, found.target_rows) == (21, 21)


@pytest.mark.parametrize("moment", ["the last page", "the count behind it"])
async def test_a_row_that_comes_between_two_counts(databases: PostgresServer, fresh_database: str, moment: str) -> None:
    """Of two rows that come on both sides, each at a moment of its own."""
    execute(fresh_database, TABLE)
    came: list[int] = []
    with served_in_pages(databases, SOURCE) as (server, source):

        def hook(request: Request) -> None:
            counts, pages = "count=exact" in request.headers.get("Prefer", ""), request.parameter("id") == "gt.20"
            behind = any(seen.request.parameter("id") == "gt.20" for seen in server.exchanges[start:])
            if len(came) < 2 and (pages if moment == "the last page" else counts and behind):
                came.append(21 + len(came))
                _insert((source.database_url, fresh_database), came[-1])

        assert (await copy_from(source, fresh_database, CHOSEN)).complete
        start = len(server.exchanges)
        server.hook = hook
        report = await verify_from(source, fresh_database, CHOSEN, options=_QUICK)
        (found,) = report.tables
        assert came
        assert (report.clean, found.counts_agree, found.rows_that_differ) == (True, True, 0)
        assert (found.source_rows, found.target_rows) == (20 + len(came), 20 + len(came))


@pytest.mark.parametrize(("grows", "late", "agree"), [(5, 7, True), (0, 0, True), (0, 1, False)])
async def test_counts_of_a_target_that_is_late(
    monkeypatch: pytest.MonkeyPatch, grows: int, late: int, agree: bool
) -> None:
    """What brings rows over is late by more than comes between two counts; a source that rests explains nothing."""
    counted = [20]

    async def of_source(*given: Any) -> int:
        counted.append(counted[-1] + grows)
        return counted[-1]

    async def of_target(*given: Any) -> int:
        return counted[-1] - late

    monkeypatch.setattr(keyed_comparison, "exact_count", of_source)
    monkeypatch.setattr(keyed_comparison, "count_target", of_target)
    ends: Any = None  # they are only given to the two functions
    recounts = keyed_comparison._RECOUNTS
    _, _, do_agree = await keyed_comparison._agreeing(ends, ends, ends, 0.0, 20, 19, 0, recounts)
    assert do_agree is agree
