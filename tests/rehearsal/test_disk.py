"""Twice the source's size is to be free where a rehearsal lies, or it does not begin."""

import os
from pathlib import Path

import psycopg
import pytest

from app.migration.target.target_session import open_target
from app.rehearsal import disk_room
from app.rehearsal.disk_room import Room, server_room, too_little
from tests.cli.command import Command
from tests.migration.engine import add_clients, query
from tests.support.page_server import PageServer
from tests.support.postgres import PostgresServer


@pytest.mark.parametrize(
    ("rooms", "short"),
    [
        ([Room("server", 1, 200)], 0),
        ([Room("server", 1, 199)], 1),
        ([Room("server", 1, 399), Room("/tmp", 1, 399)], 1),
        ([Room("server", 1, 200), Room("/tmp", 2, 200)], 0),
        ([Room("server"), Room("/tmp", 2, 199)], 1),
    ],
)
def test_places_on_one_file_system_share_its_room(rooms: list[Room], short: int) -> None:
    assert len(too_little(100, rooms)) == short


async def test_the_room_of_a_server_of_this_machine_is_that_of_its_directory(
    embedded_server: PostgresServer, tmp_path: Path
) -> None:
    url = embedded_server.create_database()
    (directory,) = query(url, "SHOW data_directory")[0]
    async with open_target(url, step="test") as connection:
        found = await server_room(connection, "it")
        assert found.device == os.stat(directory).st_dev
        assert found.free
        assert disk_room._local_room(os.getpid(), directory, "x", "it") is None  # a process that is no server's
    embedded_server.drop_database(url)


@pytest.mark.parametrize("over", ["REST", "a connection"])
def test_it_does_not_begin_without_the_room(
    command: Command,
    pages: PageServer,
    source_database: str,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    over: str,
) -> None:
    add_clients(source_database, 100)
    settings = {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key, "DATABASE_URL": database_url}
    source = ["--source", source_database] if over != "REST" else []
    monkeypatch.setattr(disk_room, "_local_room", lambda *_: Room("the server", 1, 20_000))
    words = ("rehearse", "--yes", "--without-cutover", *source)
    outcome = command(*words, "--accept-unknown-disk", **settings)
    assert outcome.code == 1
    assert "twice the source's size, and 20,000 are free" in outcome.err
    monkeypatch.setattr(disk_room, "_local_room", lambda *_: None)
    outcome = command(*words, **settings)
    assert outcome.code == 1
    assert "does not tell how much of its disk is free" in outcome.err
    assert "--accept-unknown-disk" in outcome.err
    assert "botdata rehearse" in outcome.err
    assert "--without-cutover" in outcome.err.rpartition("next:")[2]
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM botdata.rehearsals").fetchone() == (0,)
