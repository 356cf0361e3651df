"""Tables with more columns than an address holds over REST: read and written in parts, each row of one version."""

import json
from collections.abc import Iterator

import pytest
from sqlalchemy import BigInteger, Column, MetaData, Table, Text

from app.errors import MigrationError
from app.migration.retry import Limits
from app.migration.sources.rest.rest_source import RestSource
from app.migration.sync.options import SyncOptions
from app.migration.sync.source_writers import RestWriter
from app.migration.sync.syncer import Sync
from tests.migration.engine import QUICK, Told, copy_from, described, execute, row_texts, source_of, verify_from
from tests.support import faults
from tests.support.faults import Answer, Fault, Request
from tests.support.page_server import PageServer
from tests.support.postgres import PostgresServer

_QUESTIONS = (
    "What do you think about the new opening hours of the salon?",
    "Как вы узнали о нашем салоне и почему выбрали",
    'Any other "remarks", good or bad, \\ or both',
)
NAMES = [f"{i:03d} {_QUESTIONS[i % 3]}".encode()[:63].decode(errors="ignore") for i in range(1, 121)]
FORM = Table(
    "Form answers",
    MetaData(),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Text, primary_key=True),
    *(Column(name, Text) for name in NAMES),
)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


_DDL = (
    f'CREATE TABLE "Form answers" (id bigint, kind text, {", ".join(f"{_quoted(name)} text" for name in NAMES)}, '
    "PRIMARY KEY (id, kind))"
)
_ROWS = (
    'INSERT INTO "Form answers" SELECT n, %s || n % 3, '
    + ", ".join(["nullif('Ё \"' || n || E'\"\\n\\\\', 'no')"] * len(NAMES))
    + " FROM generate_series(%s::integer, %s::integer) n ON CONFLICT DO NOTHING"
)


def _fill(url: str, first: int, last: int) -> None:
    execute(url, _ROWS.replace("n % 3", "n %% 3"), ['a, "b\\', first, last])


@pytest.fixture
def form(databases: PostgresServer) -> Iterator[tuple[PageServer, str]]:
    """A server with the form's answers, whose gateway takes addresses of 3,000 bytes; and its database."""
    database = databases.create_database()
    execute(database, _DDL)
    _fill(database, 1, 30)
    with PageServer(database, max_rows=7, longest_target=3000) as server:
        yield server, database
    databases.drop_database(database)


@pytest.fixture
def target(fresh_database: str) -> str:
    execute(fresh_database, _DDL)
    return fresh_database


def _longest(server: PageServer) -> int:
    return max(len(seen.request.target) for seen in server.exchanges)


async def test_copied_and_verified(form: tuple[PageServer, str], target: str) -> None:
    server, database = form
    report = await copy_from(server, target, [FORM])
    assert (report.complete, report.tables[0].copied) == (True, 30)
    assert row_texts(target, "Form answers") == row_texts(database, "Form answers")
    assert (await verify_from(server, target, [FORM])).clean
    execute(database, f"UPDATE \"Form answers\" SET {_quoted(NAMES[-1])} = 'late' WHERE id = 5")
    found = (await verify_from(server, target, [FORM])).tables[0]
    assert [(one.kind, one.key[0], one.column) for one in found.differences] == [("different", "5", NAMES[-1])]
    assert _longest(server) <= 3000


async def test_synced_there_and_back(form: tuple[PageServer, str], target: str) -> None:
    server, database = form
    told = Told()

    async def sync(*, reverse: bool) -> bool:
        options = SyncOptions(reverse=reverse, target_in_use=reverse)
        return (await Sync(lambda: source_of(server, told=told), target, [FORM], told, options).run()).complete

    assert await sync(reverse=False)
    change = f"UPDATE \"Form answers\" SET {_quoted(NAMES[-1])} = 'late' WHERE id = {{}}"
    execute(database, change.format(5) + '; DELETE FROM "Form answers" WHERE id = 7')
    assert await sync(reverse=False)
    assert row_texts(target, "Form answers") == row_texts(database, "Form answers")
    execute(target, change.format(9) + '; DELETE FROM "Form answers" WHERE id = 8')
    _fill(target, 7, 7)
    assert await sync(reverse=True)
    assert row_texts(target, "Form answers") == row_texts(database, "Form answers")
    assert len(row_texts(database, "Form answers")) == 29
    assert _longest(server) <= 3000


async def test_rows_in_parts_are_written_back_whole(form: tuple[PageServer, str], target: str) -> None:
    server, database = form
    table = await described(target, FORM)
    async with source_of(server) as source:
        assert isinstance(source, RestSource)
        pages = [page async for page in source.pages(table)]
        execute(database, 'DELETE FROM "Form answers" WHERE id < 20')
        for page in pages:
            await RestWriter(source).write(table, page)
    await copy_from(server, target, [FORM])
    assert len(row_texts(database, "Form answers")) == 30
    assert row_texts(target, "Form answers") == row_texts(database, "Form answers")
    assert _longest(server) <= 3000


async def test_no_row_is_of_two_versions(form: tuple[PageServer, str], target: str) -> None:
    """Rows change, come and go between the parts of a page, and between the parts of those asked for by key."""
    server, database = form
    turns = 0

    def change(request: Request) -> Fault | None:
        nonlocal turns
        if request.parameter("order") is None or turns > 60:
            return None
        turns += 1
        every = ", ".join(f"{_quoted(name)} = 'turn {turns}'" for name in (NAMES[0], NAMES[60], NAMES[-1]))
        execute(database, f'UPDATE "Form answers" SET {every} WHERE id = 1 + {turns} % 30')
        if turns == 20:
            execute(database, 'DELETE FROM "Form answers" WHERE id IN (2, 3, 7)')
            _fill(database, 40, 41)
        return None

    server.hook = change
    async with source_of(server) as source:
        table = await described(target, FORM)
        first, middle, last = (f"_{2 + place}" for place in (0, 60, 119))
        seen = set()
        for versions in (False, True):
            turns = 0
            async for page in source.pages(table, versions=versions):
                for record in json.loads(page.body):
                    assert record.keys() - {"_v"} == {f"_{place}" for place in range(122)}
                    assert ("_v" in record) is versions
                    texts = {record[name] for name in (first, middle, last)}
                    assert len(texts) == 1, record["_0"]
                    seen |= texts
                assert page.body.startswith(b'[{"_0":"')
        assert any("turn" in text for text in seen)
    server.hook = lambda _request: None
    assert (await copy_from(server, target, [FORM])).complete
    assert row_texts(target, "Form answers") == row_texts(database, "Form answers")


async def test_a_page_whose_rows_all_go_is_not_the_end(form: tuple[PageServer, str], target: str) -> None:
    server, database = form
    pages = 0

    def remove(request: Request) -> Fault | None:
        nonlocal pages
        if (request.parameter("select") or "").count("::text") < 4 or request.parameter("kind") is not None:
            return None
        pages += 1
        if pages == 2:  # the second part of the first page
            execute(database, 'DELETE FROM "Form answers" WHERE id <= 7')
        return None

    server.hook = remove
    async with source_of(server) as source:
        listed = [page async for page in source.pages(await described(target, FORM))]
    assert sum(page.rows for page in listed) == 23


async def test_a_view_says_that_rows_may_be_mixtures(form: tuple[PageServer, str], target: str) -> None:
    server, database = form
    execute(database, 'ALTER TABLE "Form answers" RENAME TO own; CREATE VIEW "Form answers" AS TABLE own')
    told = Told()
    assert (await copy_from(server, target, [FORM], told=told)).complete
    (notice,) = [one for one in told.notices if "mixture" in one]
    assert notice.startswith("Form answers has more columns than one address holds, and no xmin")
    assert "--source" in notice


async def test_heavy_parts_make_pages_smaller(form: tuple[PageServer, str], target: str) -> None:
    server, database = form
    execute(database, f"UPDATE \"Form answers\" SET {_quoted(NAMES[-1])} = repeat('x', 20000)")
    limits = Limits(page_bytes=30_000, wait_initial=QUICK.wait_initial, wait_max=QUICK.wait_max)
    assert (await copy_from(server, target, [FORM], limits=limits)).complete
    assert row_texts(target, "Form answers") == row_texts(database, "Form answers")


@pytest.mark.parametrize(("status", "words"), [
    (414, "a server on the way takes no address of"), (431, "a server on the way takes no address of"),
    (400, "a server on the way takes no address of"), (502, "Supabase cannot answer now, or not to an address of"),
])  # fmt: skip
async def test_an_address_that_is_still_too_long_is_named(
    form: tuple[PageServer, str], target: str, monkeypatch: pytest.MonkeyPatch, status: int, words: str
) -> None:
    server, _ = form
    monkeypatch.setattr("app.migration.sources.rest.rest_source.LONGEST_ADDRESS", 100_000)
    server.longest_target = 100_000

    def refuse(request: Request) -> Fault | None:
        return faults.status(status) if len(request.target) > 3000 else None

    server.hook = refuse
    limits = Limits(attempts=2, wait_initial=0.01, wait_max=0.02)
    with pytest.raises(MigrationError, match=words) as stopped:
        await copy_from(server, target, [FORM], limits=limits)
    assert stopped.value.next_step is not None
    assert "--source postgresql://..." in str(stopped.value.next_step)
    assert "SUPABASE_URL and" not in str(stopped.value.next_step)


async def test_many_long_keys_are_asked_for_in_short_addresses(databases: PostgresServer, fresh_database: str) -> None:
    names = [f"column_number_{number:02d}" for number in range(40)]
    wide = Table("wide", MetaData(), Column("key", Text, primary_key=True), *(Column(name, Text) for name in names))
    ddl = f"CREATE TABLE wide (key text PRIMARY KEY, {', '.join(f'{name} text' for name in names)})"
    source_database = databases.create_database()
    try:
        for url in (source_database, fresh_database):
            execute(url, ddl)
        execute(source_database, "INSERT INTO wide (key) SELECT n || repeat('\"ж', 20) FROM generate_series(1, 60) n")
        with PageServer(source_database, longest_target=3000) as server:
            server.hook = lambda request: (
                _without_rows
                if "_1:" in (request.parameter("select") or "") and (request.parameter("key") is None)
                else None
            )
            assert (await copy_from(server, fresh_database, [wide])).complete
            assert row_texts(fresh_database, "wide") == row_texts(source_database, "wide")
            assert 2000 < _longest(server) <= 3000
    finally:
        databases.drop_database(source_database)


def _without_rows(answer: Answer) -> Answer:
    return faults.agreeing(lambda whole: Answer(whole.status, whole.headers, b"[]"))(answer)
