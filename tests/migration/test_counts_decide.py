"""What an index or an operator of the source leaves out is missed by the counts; nothing is called whole without it."""

from dataclasses import replace

import pytest
from sqlalchemy import Column, MetaData, Table, Text

from app.errors import MigrationError
from app.migration.tables.metadata import select_tables
from tests.fidelity.key_kinds import KEYS, KeyKind
from tests.fixtures.sources import MakeSource, Source
from tests.migration.engine import copy_from, execute, query, value, verify_from
from tests.migration.shown import show_copy, show_verify
from tests.migration.two_ends import sync_from

_ROWS = 24
METADATA = MetaData()
Table("words", METADATA, Column("id", Text, primary_key=True), Column("note", Text))
_CHOSEN = select_tables(METADATA)
_BY_NAME = {kind.name: kind for kind in KEYS}
_OPERATORS = ("<", "<=", "=", ">=", ">", "<>")


def _moved(old: str, new: str) -> str:
    """The operators of the folded type are in another schema."""
    return " ".join(f"ALTER OPERATOR {old}.{one} (ext.folded, ext.folded) SET SCHEMA {new};" for one in _OPERATORS)


def _found(name: str, *more: str, **wrong: str) -> KeyKind:
    kind = _BY_NAME[name]
    return replace(kind, ddl=(*kind.ddl, *more), **wrong)  # type: ignore[arg-type]


KINDS = [
    _found("key of a type whose comparison was changed under its index", _moved("ext", "public")),
    _found("index in another order than the catalog says"),
    _found(
        "key of a type whose operators are outside the search path",
        _moved("ext", "public"),
        wrong=_moved("public", "ext"),
    ),
]
FIGURES = rf"words: the source counts {_ROWS} rows, and \d+ came"
CAUSES = "an index in the order of another collation version (REINDEX it), operators of the key's type that the API's"
# An index is read in its order: few rows would be sorted otherwise.
_NO_SORT = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET enable_sort = off', current_database()); END $$;"


def _table(kind: KeyKind) -> str:
    return "\n".join([*kind.ddl, f"CREATE TABLE words (id {kind.columns[0][1]} PRIMARY KEY, note text);"])


def _wrong(kind: KeyKind) -> str:
    return kind.wrong.replace("{table}", "words")


def _source(kind: KeyKind) -> str:
    literal = kind.literals[0]
    rows = ", ".join(f"({literal(number)}, 'note {number}')" for number in range(_ROWS))
    return f"{_NO_SORT} {_table(kind)} INSERT INTO words VALUES {rows};"


def _all(url: str) -> list[tuple[str, str]]:
    return query(url, 'SELECT id::text COLLATE "C", note FROM words ORDER BY 1')


def _over_rest(source: Source) -> bool:
    return source.url != source.database_url


@pytest.mark.parametrize("make_source", ["connection"], indirect=True)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_a_connection_follows_no_order(make_source: MakeSource, fresh_database: str, kind: KeyKind) -> None:
    source = make_source(_source(kind) + _wrong(kind))
    execute(fresh_database, _table(kind))
    copied = await copy_from(source, fresh_database, _CHOSEN)
    assert (copied.complete, copied.tables[0].copied, copied.tables[0].disagreement) == (True, _ROWS, None)
    assert _all(fresh_database) == _all(source.database_url)
    assert (await verify_from(source, fresh_database, _CHOSEN)).clean
    synced = (await sync_from(source, fresh_database, _CHOSEN)).tables["words"]
    assert (synced.inserted, synced.updated, synced.deleted, synced.unsettled) == (0, 0, 0, 0)
    execute(
        source.database_url,
        "UPDATE words SET note = 'new' WHERE note IN ('note 5', 'note 20'); DELETE FROM words WHERE note = 'note 7'",
    )
    found = (await verify_from(source, fresh_database, _CHOSEN)).tables[0]
    assert (found.missing, found.extra, found.different, found.counts_agree) == (0, 1, 2, True)
    report = await sync_from(source, fresh_database, _CHOSEN)
    synced = report.tables["words"]
    assert (report.complete, synced.inserted, synced.updated, synced.deleted) == (True, 0, 2, 1)
    assert _all(fresh_database) == _all(source.database_url)


@pytest.mark.parametrize("make_source", ["page server"], indirect=True)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_over_rest_a_copy_is_not_complete(
    make_source: MakeSource, fresh_database: str, kind: KeyKind, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_source(_source(kind) + _wrong(kind))
    execute(fresh_database, _table(kind))
    report = await copy_from(source, fresh_database, _CHOSEN)
    (table,) = report.tables
    held = value(fresh_database, "SELECT count(*) FROM words")
    assert held < _ROWS  # or this test shows nothing
    assert not report.complete
    assert (table.source_before, table.source_after) == (_ROWS, _ROWS)
    assert (table.disagreement or "").startswith(f"the source counts {_ROWS} rows, and ")
    assert f"the target holds {held}: " in (table.disagreement or "")
    assert CAUSES in (table.disagreement or "")
    show_copy(report)
    shown = capsys.readouterr()
    words = " ".join((shown.out + shown.err).split())
    assert f"words: the counts do not agree: the source counts {_ROWS} rows" in words
    assert "copy NOT complete" in words
    assert "verify" not in words.rpartition("Next: ")[2]


@pytest.mark.parametrize("make_source", ["page server"], indirect=True)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_over_rest_verify_and_sync_stop(make_source: MakeSource, fresh_database: str, kind: KeyKind) -> None:
    """The target has every row of the source: each that a listing lacks would be deleted."""
    source = make_source(_source(kind))
    execute(fresh_database, _table(kind))
    assert (await copy_from(source, fresh_database, _CHOSEN)).complete
    before = _all(fresh_database)
    execute(source.database_url, _wrong(kind))
    with pytest.raises(MigrationError, match=FIGURES) as stopped:
        await verify_from(source, fresh_database, _CHOSEN)
    assert CAUSES in str(stopped.value)
    for options in ({}, {"dry_run": True}, {"until_clean": True}, {"reverse": True, "target_in_use": True}):
        with pytest.raises(MigrationError, match=FIGURES) as stopped:
            await sync_from(source, fresh_database, _CHOSEN, **options)
        assert stopped.value.pending == "everything of this round; nothing of it was written"
    assert _all(fresh_database) == before == _all(source.database_url)


@pytest.mark.parametrize("make_source", ["page server"], indirect=True)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_over_rest_no_two_sides_that_lack_the_same_rows_are_verified(
    make_source: MakeSource, fresh_database: str, kind: KeyKind
) -> None:
    """The target has the rows that the pages give, and no other."""
    source = make_source(_source(kind) + _wrong(kind))
    execute(fresh_database, _table(kind))
    await copy_from(source, fresh_database, _CHOSEN)
    with pytest.raises(MigrationError, match=FIGURES):
        await verify_from(source, fresh_database, _CHOSEN)


# --- Rows that share a key ---

_PHONES = MetaData()
Table("phones", _PHONES, Column("phone", Text, primary_key=True, info={"phone": True}), Column("note", Text))
_PHONE = "79001234567"
_TWICE = f"""
CREATE TABLE phones (phone text NOT NULL, note text);
INSERT INTO phones SELECT '7900000000' || n, 'n' FROM generate_series(1, 5) n;
INSERT INTO phones VALUES ('{_PHONE}', 'same'), ('{_PHONE}', 'same');
"""
_ONCE = "CREATE TABLE phones (phone text PRIMARY KEY, note text);"


async def test_a_key_that_is_there_twice(
    make_source: MakeSource, fresh_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_source(_TWICE)
    execute(fresh_database, _ONCE)
    chosen = select_tables(_PHONES)
    report = await copy_from(source, fresh_database, chosen)
    (table,) = report.tables
    assert (report.complete, table.refused, table.missing) == (False, (), ())
    told = table.disagreement or ""
    assert told.startswith("the source counts 7 rows, and 7 came, with 6 different keys; the target holds 6: ")
    assert "several rows have one key, such as (" in told
    assert value(fresh_database, "SELECT count(*) FROM phones") == 6
    show_copy(report)
    shown = capsys.readouterr()
    assert "preflight names keys that are there twice" in shown.out + shown.err
    words = [told, shown.out, shown.err]

    if _over_rest(source):
        with pytest.raises(MigrationError, match="counts 7 rows, and 7 came, with 6 different keys") as stopped:
            await verify_from(source, fresh_database, chosen)
        words.append(str(stopped.value))
    else:
        verified = await verify_from(source, fresh_database, chosen)
        (found,) = verified.tables
        assert (verified.clean, found.counts_agree, found.clean) == (False, False, False)
        assert (found.source_rows, found.target_rows, found.rows_that_differ) == (7, 6, 0)
        show_verify(verified)
        shown = capsys.readouterr()
        assert "NOT the same: the counts differ; 0 rows differ, of 7 rows" in shown.out + shown.err
        words += [shown.out, shown.err]

    before = query(fresh_database, "SELECT phone, note, xmin::text FROM phones ORDER BY 1")
    with pytest.raises(MigrationError, match="several rows have one key, such as") as stopped:
        await sync_from(source, fresh_database, chosen)
    words.append(str(stopped.value))
    with pytest.raises(MigrationError, match="were not brought over whole: phones"):
        await sync_from(source, fresh_database, chosen, reverse=True, target_in_use=True)
    assert query(fresh_database, "SELECT phone, note, xmin::text FROM phones ORDER BY 1") == before
    assert value(source.database_url, "SELECT count(*) FROM phones") == 7
    assert not [one for one in words if _PHONE in one]


@pytest.mark.parametrize("make_source", ["page server"], indirect=True)
async def test_a_key_that_is_there_twice_on_two_pages(make_source: MakeSource, fresh_database: str) -> None:
    """A page has four rows here, and what comes after it has a greater key."""
    source = make_source(_TWICE + "DELETE FROM phones WHERE phone IN ('79000000004', '79000000005')")
    execute(fresh_database, _ONCE)
    chosen = select_tables(_PHONES)
    report = await copy_from(source, fresh_database, chosen)
    assert not report.complete
    assert (report.tables[0].disagreement or "").startswith("the source counts 5 rows, and 4 came; the target holds 4")
    for step in (verify_from, sync_from):
        with pytest.raises(MigrationError, match="phones: the source counts 5 rows, and 4 came"):
            await step(source, fresh_database, chosen)
