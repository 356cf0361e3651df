"""Rows of one store are written into the other only where, and for as long as, they are the newer ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from app.cutover.stages import Stage, Store
from app.errors import MigrationError
from app.migration.copy.copier import CopyOptions
from app.migration.load.table_authority import Authority
from app.migration.quarantine.replay import replay
from app.migration.verify.options import VerifyOptions
from app.models import Base
from tests.fixtures.sources import Source
from tests.migration.engine import Told, add_clients, copy_from, execute, query, tables, value, verify_from
from tests.migration.test_sync import sync_from
from tests.migration.test_sync_follow import Following
from tests.support.faults import Fault, Request
from tests.support.page_server import PageServer

_WAITING = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"

_FIX = VerifyOptions(fix=True, pause=0.01)
_STAFF = "INSERT INTO staff (id, yclients_id, company_id, name) SELECT n, n, 1, 's' FROM generate_series(1, 3) n"


def stand_at(database_url: str, stage: str) -> None:
    """Put the row there, as a command does."""
    execute(database_url, f"UPDATE botdata.stage SET stage = '{stage}', moved_at = clock_timestamp()")


def report_stage(database_url: str, stage: str) -> None:
    """A process of the bot that reports a stage."""
    execute(database_url, f"INSERT INTO botdata.processes (name, stage, chosen_by) VALUES ('p', '{stage}', 'x')")


def own_authority(database_url: str, table: str, store: str = "postgres") -> None:
    """A table's own authority."""
    execute(database_url, f"INSERT INTO botdata.table_authority (table_name, authority) VALUES ('{table}', '{store}')")


def _count(database_url: str, table: str = "clients") -> int:
    return int(value(database_url, f"SELECT count(*) FROM {table}"))


@pytest.mark.parametrize("managed", [True, False])
@pytest.mark.parametrize("reported", [None, *Stage])
@pytest.mark.parametrize("stage", Stage)
def test_whose_a_table_is(stage: Stage, reported: Stage | None, managed: bool) -> None:
    processes = (("p", reported),) if reported else ()
    authority = Authority(managed, stage, (None, None), frozenset({"bookings"}), processes)
    stages = {*([stage] if managed else []), *([reported] if reported else [])}
    for store in Store:
        assert (authority.claim("clients", store) is not None) == any(one.authority is store for one in stages)
    assert (authority.mirrored("clients") is not None) == any(one.mirrors for one in stages)
    assert authority.mirrored("staff") is None
    assert (authority.claim("bookings", Store.POSTGRES) is not None) == managed
    assert (authority.claim("staff", Store.SUPABASE) is not None) == managed
    assert authority.claim("staff", Store.POSTGRES) is None


def _writers(server: Any, database_url: str) -> dict[str, Callable[[], Any]]:
    """What writes rows of the source into clients, each told to do so whatever the flag says."""
    return {
        "copy": lambda: copy_from(server, database_url, tables("clients"), options=CopyOptions(overwrite=True)),
        "sync": lambda: sync_from(server, database_url, "clients", overwrite=True, named=True),
        "verify --fix": lambda: verify_from(
            server, database_url, tables("clients"), options=VerifyOptions(fix=True, overwrite=True)
        ),
        "replay": lambda: replay(database_url, Base.metadata, overwrite=True),
    }


@pytest.mark.parametrize("command", ["copy", "sync", "verify --fix", "replay"])
@pytest.mark.parametrize("stage", ["live", "rampdown", "complete"])
async def test_the_stage_refuses_what_writes_source_rows(
    pages: PageServer, source_database: str, database_url: str, command: str, stage: str
) -> None:
    add_clients(source_database, 3)
    execute(database_url, "ALTER TABLE clients ADD CONSTRAINT odd CHECK (id <> 2)")
    await copy_from(pages, database_url, tables("clients"))
    execute(database_url, "ALTER TABLE clients DROP CONSTRAINT odd; UPDATE clients SET notes = 'of the bot'")
    stand_at(database_url, stage)
    with pytest.raises(MigrationError) as stopped:
        await _writers(pages, database_url)[command]()
    assert f"PostgreSQL is the store of clients (the cutover stands at {stage})" in stopped.value.message
    assert "botdata cutover status" in str(stopped.value.next_step)
    assert query(database_url, "SELECT id, notes FROM clients ORDER BY id") == [(1, "of the bot"), (3, "of the bot")]


@pytest.mark.parametrize("command", ["copy", "sync", "verify --fix"])
async def test_a_process_that_reports_a_stage_refuses_too(
    pages: PageServer, source_database: str, database_url: str, command: str
) -> None:
    add_clients(source_database, 3)
    stand_at(database_url, "off")
    report_stage(database_url, "live")
    with pytest.raises(MigrationError, match=r"of clients \(process p reports live\)"):
        await _writers(pages, database_url)[command]()
    assert _count(database_url) == 0


@pytest.mark.parametrize("stage", ["live", "complete"])
async def test_other_tables_have_an_authority_of_their_own(
    pages: PageServer, source_database: str, database_url: str, stage: str
) -> None:
    execute(source_database, _STAFF)
    stand_at(database_url, stage)
    await copy_from(pages, database_url, tables("staff"))
    execute(database_url, "DELETE FROM staff WHERE id = 1")
    assert (await verify_from(pages, database_url, tables("staff"), options=_FIX)).clean
    execute(source_database, "UPDATE staff SET name = 'new'")
    assert (await sync_from(pages, database_url, "staff", named=True)).tables["staff"].updated == 3
    own_authority(database_url, "staff")
    for work in (
        lambda: copy_from(pages, database_url, tables("staff")),
        lambda: sync_from(pages, database_url, "staff", named=True),
        lambda: verify_from(pages, database_url, tables("staff"), options=_FIX),
    ):
        with pytest.raises(MigrationError, match=r"staff \(its own authority is PostgreSQL\)"):
            await work()


async def test_the_tables_that_may_be_written_are_named(pages: PageServer, database_url: str) -> None:
    stand_at(database_url, "live")
    with pytest.raises(MigrationError) as stopped:
        await copy_from(pages, database_url, tables("clients", "staff"))
    assert str(stopped.value.next_step).endswith("for the others: the same command, with --tables staff")


@pytest.mark.parametrize("flag", [True, False])
async def test_where_no_command_has_moved_the_stage_the_flag_decides(
    pages: PageServer, source_database: str, database_url: str, flag: bool
) -> None:
    add_clients(source_database, 3)
    if flag:
        with pytest.raises(MigrationError, match="USE_REPOSITORY_PATTERN says"):
            await sync_from(pages, database_url, "clients", target_in_use=True)
    await sync_from(pages, database_url, "clients", target_in_use=flag, overwrite=flag)
    assert _count(database_url) == 3
    stand_at(database_url, "off")  # and where one has, it does not
    await sync_from(pages, database_url, "clients", target_in_use=True)


@pytest.mark.parametrize("stage", ["dualwrite", "shadow"])
async def test_no_copy_where_processes_mirror(
    pages: PageServer, source_database: str, database_url: str, stage: str
) -> None:
    add_clients(source_database, 3)
    stand_at(database_url, stage)
    with pytest.raises(MigrationError) as stopped:
        await copy_from(pages, database_url, tables("clients"))
    said = f"PostgreSQL gets from the bot what it writes of clients (the cutover stands at {stage}); a copy would"
    assert stopped.value.message.startswith(said)  # its store is Supabase
    assert "botdata sync" in str(stopped.value.next_step)
    assert _count(database_url) == 0
    await sync_from(pages, database_url, "clients")
    assert _count(database_url) == 3


async def test_a_copy_under_way_stops_when_the_stage_moves(source: Source, database_url: str) -> None:
    """What it had read by then is not written."""
    add_clients(source.database_url, 3)
    execute(
        database_url,
        "CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "UPDATE botdata.stage SET stage = 'dualwrite', moved_at = now(); RETURN NULL; END $$; "
        "CREATE TRIGGER move AFTER INSERT ON clients EXECUTE FUNCTION move(); "
        "ALTER TABLE clients ENABLE ALWAYS TRIGGER move",
    )
    with pytest.raises(MigrationError, match="clients may not be written any more: the cutover stands at dualwrite"):
        await copy_from(source, database_url, tables("clients"))
    assert _count(database_url) == 0


async def test_a_sync_leaves_out_what_is_postgres_s_and_says_so(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 3)
    execute(source_database, _STAFF)
    stand_at(database_url, "live")
    told = Told()
    report = await sync_from(pages, database_url, "clients", "staff", told=told)
    assert list(report.tables) == ["staff"]
    assert [one for one in told.notices if "left out" in one] == [
        "left out, since PostgreSQL is their store: clients (the cutover stands at live)"
    ]
    assert (_count(database_url), _count(database_url, "staff")) == (0, 3)
    with pytest.raises(MigrationError, match="PostgreSQL is the store of clients"):
        await sync_from(pages, database_url, "clients", "staff", named=True)
    with pytest.raises(MigrationError, match="PostgreSQL is the store of clients"):
        await sync_from(pages, database_url, "clients")  # nothing is left


async def test_a_sync_back_writes_only_what_is_postgres_s(source: Source, database_url: str) -> None:
    add_clients(source.database_url, 3)
    execute(source.database_url, _STAFF)
    await copy_from(source, database_url, tables("clients", "staff"))
    execute(database_url, "UPDATE clients SET notes = 'new'; UPDATE staff SET name = 'new'")
    stand_at(database_url, "shadow")
    with pytest.raises(MigrationError, match=r"Supabase is the store of clients \(the cutover stands at shadow\)"):
        await sync_from(source, database_url, "clients", reverse=True, overwrite=True, target_in_use=True)
    stand_at(database_url, "live")
    told = Told()
    await sync_from(source, database_url, "clients", "staff", reverse=True, told=told)
    assert "left out, since Supabase is their store: staff (its own authority is Supabase)" in told.notices
    assert query(source.database_url, "SELECT DISTINCT c.notes, s.name FROM clients c, staff s") == [("new", "s")]
    own_authority(database_url, "staff")
    await sync_from(source, database_url, "clients", "staff", reverse=True, named=True)
    assert query(source.database_url, "SELECT DISTINCT name FROM staff") == [("new",)]
    report_stage(database_url, "shadow")
    with pytest.raises(MigrationError, match="process p reports shadow"):
        await sync_from(source, database_url, "clients", reverse=True, named=True)


@pytest.fixture
def moves(pages: PageServer, database_url: str) -> Iterator[list[str]]:
    """Stages that the row is put to, one at each request for rows of clients by their keys."""
    waiting: list[str] = []

    def hook(request: Request) -> Fault | None:
        by_key = (request.parameter("id") or "").startswith(("in.", "eq."))
        if request.method == "GET" and request.table == "clients" and by_key and waiting:
            stand_at(database_url, waiting.pop(0))
        return None

    pages.hook = hook
    yield waiting
    pages.hook = lambda request: None


@pytest.mark.parametrize("change", ["UPDATE clients SET notes = 'old'", "DELETE FROM clients WHERE id = 2"])
async def test_no_page_is_loaded_once_the_authority_has_moved(
    pages: PageServer, source_database: str, database_url: str, moves: list[str], change: str
) -> None:
    add_clients(source_database, 3)
    await sync_from(pages, database_url, "clients")
    execute(source_database, change)
    moves.append("live")
    told = Told()
    with pytest.raises(MigrationError, match="PostgreSQL is the store of clients"):
        await sync_from(pages, database_url, "clients", told=told)
    assert any("clients may not be written any more: the cutover stands at live" in one for one in told.notices)
    assert query(database_url, "SELECT id, notes FROM clients ORDER BY id") == [(1, None), (2, None), (3, None)]


async def test_no_fix_once_the_authority_has_moved(
    pages: PageServer, source_database: str, database_url: str, moves: list[str]
) -> None:
    add_clients(source_database, 3)
    moves += ["off", "live"]  # the second look, and the reading of what is to be written
    with pytest.raises(MigrationError, match="clients may not be written any more: the cutover stands at live"):
        await verify_from(pages, database_url, tables("clients"), options=_FIX)
    assert _count(database_url) == 0


async def test_what_was_read_before_a_move_there_and_back_is_read_again(
    pages: PageServer, source_database: str, database_url: str, moves: list[str]
) -> None:
    add_clients(source_database, 3)
    await sync_from(pages, database_url, "clients")
    stand_at(database_url, "shadow")
    execute(source_database, "UPDATE clients SET notes = 'changed'")
    moves.append("shadow")
    told = Told()
    report = await sync_from(pages, database_url, "clients", told=told)
    assert any("the cutover was moved meanwhile" in one for one in told.notices)
    assert (report.complete, report.tables["clients"].updated) == (True, 3)


async def test_a_following_sync_follows_the_authority(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 3)
    following = Following(pages, database_url)  # clients, and whatsapp_keys, which no method writes
    await following.rounds(1)
    stand_at(database_url, "live")
    await following.rounds(2)
    execute(source_database, "UPDATE clients SET notes = 'a mirror of PostgreSQL'")
    execute(source_database, "INSERT INTO whatsapp_keys VALUES ('c', 't', '1', '{}')")
    await following.rounds(2)
    assert (_count(database_url, "whatsapp_keys"), value(database_url, "SELECT count(notes) FROM clients")) == (1, 0)
    stand_at(database_url, "shadow")
    await following.rounds(2)
    assert value(database_url, "SELECT count(notes) FROM clients") == 3
    assert (await following.end()).complete
    assert [one for one in following.told.notices if "left out" in one] == [
        "left out, since PostgreSQL is their store: clients (the cutover stands at live)",
        "no table is left out",
    ]


async def test_a_stage_that_is_being_moved_is_waited_for(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    """The move comes first, and the page that was read before it is not loaded."""
    add_clients(source_database, 3)
    with psycopg.connect(database_url) as moving:
        moving.execute("UPDATE botdata.stage SET stage = 'live', moved_at = clock_timestamp()")
        sync = asyncio.ensure_future(sync_from(pages, database_url, "clients"))
        for _ in range(600):
            if query(database_url, _WAITING) or sync.done():
                break
            await asyncio.sleep(0.05)
        assert not sync.done()
        moving.commit()
    with pytest.raises(MigrationError, match="PostgreSQL is the store of clients"):
        await sync
    assert _count(database_url) == 0


@pytest.mark.parametrize("stage", ["off", "shadow"])
async def test_a_replay_puts_no_row_over_a_mirror_s(
    pages: PageServer, source_database: str, database_url: str, stage: str
) -> None:
    add_clients(source_database, 3)
    execute(database_url, "ALTER TABLE clients ADD CONSTRAINT odd CHECK (id <> 2)")
    await copy_from(pages, database_url, tables("clients"))
    execute(database_url, "ALTER TABLE clients DROP CONSTRAINT odd")
    add_clients(database_url, 1, first=2, name="mirrored")
    stand_at(database_url, stage)
    report = await replay(database_url, Base.metadata, overwrite=True)
    assert report.loaded == (1 if stage == "off" else 0)
    assert query(database_url, "SELECT name FROM clients WHERE id = 2") == [
        ("name2" if stage == "off" else "mirrored2",)
    ]
