"""What a killed rehearsal left is removed by the next start, and nothing else is."""

import asyncio
import secrets
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from app.cutover.moves.uninstalling import refuse_with_rehearsals
from app.errors import MigrationError, UnavailableError
from app.migration.target.target_session import open_target
from app.rehearsal.database import Leftovers, remove_leftovers, throw_away_database
from app.rehearsal.directories import make_directory
from app.rehearsal.places import Places
from app.state.rehearsals import OWNER, note_made, record_rehearsal, take_lock
from tests.cli.command import start
from tests.migration.engine import add_clients, query
from tests.rehearsal.left import databases_left, directories_left, not_removed
from tests.support import faults
from tests.support.page_server import PageServer
from tests.support.postgres import amid_a_copy

_ID = secrets.token_hex(8)  # workers share a server
_NAME = f"botdata_rehearsal_{_ID}"


@pytest.fixture
def target(database_url: str) -> Iterator[str]:
    """A real target."""
    yield database_url
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(_NAME)))


async def _record(target: str, *, made: bool = True, **given: str | None) -> None:
    values = {"server": None, "machine": socket.gethostname(), "directory": None} | given
    async with open_target(target, step="test") as connection:
        await record_rehearsal(connection, _ID, **values)  # type: ignore[arg-type]
        if made:
            await note_made(connection, _ID)


async def _next_start(target: str, on: str | None = None) -> Leftovers:
    return await remove_leftovers(Places(target, on), lambda message: None)


def _make(target: str, mark: str | None = f"botdata rehearsal {_ID}") -> None:
    with psycopg.connect(target, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {_NAME} TEMPLATE template0")
        if mark is not None:
            connection.execute(f"COMMENT ON DATABASE {_NAME} IS '{mark}'")


@pytest.mark.parametrize("is_back", [True, False])
async def test_a_server_that_starts_again_is_waited_for(
    target: str, monkeypatch: pytest.MonkeyPatch, is_back: bool
) -> None:
    whole, told, refusals = Places.server_session, [], 0
    monkeypatch.setattr("app.rehearsal.database._RECOVERS", 0.6)

    async def away_for_a_while(places: Places, name: str | None = None) -> psycopg.AsyncConnection:
        nonlocal refusals
        if refusals > 0:
            refusals -= 1
            raise MigrationError("it cannot be reached") from UnavailableError("in recovery")
        return await whole(places, name)

    monkeypatch.setattr(Places, "server_session", away_for_a_while)
    async with throw_away_database(Places(target), told.append, stand_in=False) as made:
        refusals = 1 if is_back else 9
    assert (len(told), len(made.left)) == ((0, 0) if is_back else (1, 1))
    refusals = 0
    assert (await _next_start(target)).removed == (() if is_back else (made.name,))


async def test_a_drop_that_another_clients_copy_holds_up_is_not_waited_for(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    with amid_a_copy(target) as process, monkeypatch.context() as hurried:
        hurried.setattr("app.migration.target.database_drop._PATIENCE", 0.2)
        async with asyncio.timeout(30), throw_away_database(Places(target), told.append, stand_in=False) as made:
            pass
        (left,) = made.left
        assert told == [f"LEFT: {left}"]
        assert made.name in left
        assert f"{process} (" in left
        assert len((await _next_start(target)).left) == 1
    assert (await _next_start(target)).removed == (made.name,)


async def test_one_that_is_recorded_marked_and_not_owned_is_dropped(target: str) -> None:
    await _record(target)
    _make(target)
    with psycopg.connect(target, dbname=_NAME):  # a session of a process that lives on ends with it
        assert (await _next_start(target)).removed == (_NAME,)
    assert (databases_left(target), not_removed(target)) == ([], 0)
    assert await _next_start(target) == Leftovers((), ())


async def test_no_other_role_may_enter_it(target: str) -> None:
    """PostgreSQL lets every role into a new database, and before version 15 make objects in it."""
    public = (
        "SELECT privilege_type FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) "
        "WHERE datname = %s AND grantee = 0"
    )
    async with throw_away_database(Places(target), lambda message: None, stand_in=False) as made:
        assert query(target, public, [made.name]) == []


async def test_one_without_a_record_stays(target: str) -> None:
    _make(target)
    assert await _next_start(target) == Leftovers((), ())
    assert query(target, "SELECT FROM pg_database WHERE datname = %s", [_NAME])


@pytest.mark.parametrize(
    ("mark", "made", "table"),
    [(None, True, ""), ("botdata rehearsal ffff", True, ""), ("mine", False, ""), (None, False, "CREATE TABLE t ()")],
)
async def test_one_without_the_mark_stays(target: str, mark: str | None, made: bool, table: str) -> None:
    await _record(target, made=made)
    _make(target, mark)
    if table:
        with psycopg.connect(target, dbname=_NAME) as connection:
            connection.execute(table.encode())
    found = await _next_start(target)
    assert (found.removed, len(found.left)) == ((), 1)
    assert "does not bear the mark" in found.left[0]
    assert (databases_left(target), not_removed(target)) == ([_NAME], 1)


async def test_one_whose_owner_lives_stays(target: str) -> None:
    await _record(target)
    _make(target)
    async with open_target(target, step="test") as owner:
        await take_lock(owner, _ID, OWNER)
        assert await _next_start(target) == Leftovers((), ())
        assert databases_left(target) == [_NAME]
        with pytest.raises(MigrationError, match="rehearsals are under way"):
            await refuse_with_rehearsals(owner)
    assert (await _next_start(target)).removed == (_NAME,)


async def test_one_that_lost_the_session_of_its_owner_stays(target: str) -> None:
    async with throw_away_database(Places(target), lambda message: None, stand_in=False) as made:
        lost = (
            "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
            "WHERE locktype = 'advisory' AND datname = current_database() ORDER BY l.pid LIMIT 1"
        )
        assert query(target, lost) == [(True,)]
        assert await _next_start(target) == Leftovers((), ())
        assert databases_left(target) == [made.name]
    assert databases_left(target) == []


@pytest.mark.parametrize("exists", [True, False])
async def test_one_killed_before_the_mark_is_known_by_its_record_and_by_having_nothing(
    target: str, exists: bool
) -> None:
    await _record(target, made=False)
    if exists:
        _make(target, None)
    assert (await _next_start(target)).removed == (_NAME,)
    assert databases_left(target) == []


async def test_one_on_another_server_waits_for_its_address(target: str, source_database: str) -> None:
    server = Places(target, source_database).label
    await _record(target, server=server)
    _make(target)
    (said,) = (await _next_start(target)).left
    assert f"--on, an address of {server}" in said
    assert databases_left(target) == [_NAME]
    assert (await _next_start(target, on=source_database)).removed == (_NAME,)


@pytest.mark.parametrize("kind", ["whole", "empty", "of another", "a link", "of another name", "of another machine"])
async def test_a_directory_is_deleted_where_it_is_the_rehearsals_own(target: str, temporary: Path, kind: str) -> None:
    directory = temporary / (_NAME if kind != "of another name" else "something")
    if kind == "a link":
        (temporary / "elsewhere").mkdir()
        directory.symlink_to(temporary / "elsewhere")
    elif kind == "whole":
        make_directory(_ID)
        (directory / "databases").mkdir()
        (directory / "databases" / "file").touch()
    else:
        directory.mkdir()
        if kind == "of another":
            (directory / "photos").touch()
    machine = "another" if kind == "of another machine" else socket.gethostname()
    await _record(target, directory=str(directory), machine=machine)
    found = await _next_start(target)
    assert directory.exists() == (kind not in {"whole", "empty"})
    assert len(found.left) == (kind in {"of another", "of another machine"})


def _until(process: subprocess.Popen[str], step: str) -> None:
    """Wait until a step of a rehearsal has begun."""
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if line.strip() == f"rehearse: {step}":
            return
    pytest.fail("".join(said))


def _hang_in_the_copy(request: faults.Request) -> faults.Fault | None:
    return faults.delivered(faults.Delivery.NEVER) if request.parameter("order") else None


def test_killed_in_the_copy_it_leaves_nothing_after_the_next_start(
    tmp_path: Path, pages: PageServer, source_database: str, database_url: str, temporary: Path
) -> None:
    add_clients(source_database, 1)
    pages.hook = _hang_in_the_copy
    settings = {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key, "DATABASE_URL": database_url}
    process = start(
        *("rehearse", "--yes", "--without-cutover", "--accept-unknown-disk"), directory=tmp_path, **settings
    )
    with process:
        _until(process, "copy")
        ((name,),) = query(database_url, "SELECT 'botdata_rehearsal_' || id FROM botdata.rehearsals WHERE made")
        assert databases_left(database_url) == [name]
        process.kill()
        process.communicate(timeout=60)
    assert databases_left(database_url) == [name]
    with start("rehearse", "--clean-up", directory=tmp_path, DATABASE_URL=database_url) as next_start:
        out, err = next_start.communicate(timeout=60)
    assert next_start.returncode == 0, err
    assert f"removed what a killed rehearsal left: {name}" in out
    assert (databases_left(database_url), not_removed(database_url), directories_left(temporary)) == ([], 0, [])


def test_a_terminal_that_closes_ends_it_as_ctrl_c_does(
    tmp_path: Path, pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 1)
    pages.hook = _hang_in_the_copy
    settings = {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key, "DATABASE_URL": database_url}
    with start(
        *("rehearse", "--yes", "--without-cutover", "--accept-unknown-disk"), directory=tmp_path, **settings
    ) as process:
        _until(process, "copy")
        process.send_signal(signal.SIGHUP)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert (databases_left(database_url), not_removed(database_url)) == ([], 0)
