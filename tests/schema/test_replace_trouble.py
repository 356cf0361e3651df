"""Replacing a schema where something goes wrong around it: a lost connection, a directory in use, a lock awaited."""

import asyncio
import logging
import stat
import subprocess
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest

from app.errors import MigrationError
from app.schema import replace as replacing
from app.schema import revisions
from app.schema.backup import make_directory
from app.schema.replace import ReplaceOptions, look, replace
from app.schema.transaction import revisions_transaction
from tests.migration.engine import value
from tests.schema import phase08
from tests.schema.test_replace import carry_out, execute
from tests.support.relay import Relay, postgres_address

_WAITING = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"

_END_IT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
    "AND application_name = 'botdata schema replace'"
)


def test_a_directory_with_files_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    tmp_path.chmod(0o755)
    with pytest.raises(MigrationError, match="holds files already"):
        make_directory(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


@pytest.mark.parametrize("step", ["_session_rows", "back_up", "_drop", "_upgrade", "_refuse_touched"])
async def test_a_lost_connection_is_told_and_nothing_is_changed(
    old: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    original = getattr(replacing, step)

    def end_it(*arguments: Any) -> Any:
        execute(old, _END_IT)
        return original(*arguments)

    monkeypatch.setattr(replacing, step, end_it)
    before = phase08.texts(old, *phase08.TABLES, *phase08.BAILEYS)
    with pytest.raises(MigrationError) as stopped:
        await carry_out(old, tmp_path / "backup")
    assert "botdata schema replace" in str(stopped.value.next_step)
    assert stopped.value.step == "schema replace"
    assert str(tmp_path / "backup") in (stopped.value.done or "") or not (tmp_path / "backup").exists()
    monkeypatch.undo()
    assert phase08.texts(old, *phase08.TABLES, *phase08.BAILEYS) == before
    await carry_out(old, tmp_path / "again")


async def test_pg_dump_does_not_wait_behind_someone_who_waits_for_us(
    old: str, tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = replacing.back_up

    def change_table() -> None:
        with psycopg.connect(old, autocommit=True, application_name="another program") as connection:
            connection.execute("ALTER TABLE clients ADD own integer")

    waiting = threading.Thread(target=change_table)

    async def behind_another(*arguments: Any) -> Any:
        waiting.start()
        with psycopg.connect(old, autocommit=True) as connection:
            for _ in range(600):
                row = connection.execute(f"SELECT EXISTS ({_WAITING})").fetchone()
                if row and row[0]:
                    break
                await asyncio.sleep(0.05)
        return await original(*arguments)

    monkeypatch.setattr(replacing, "back_up", behind_another)
    with pytest.raises(MigrationError, match="pg_dump could not write the backup"):
        await asyncio.wait_for(
            replace(old, await look(old), ReplaceOptions(tmp_path / "b", str(programs / "pg_dump"), lock_timeout=0.5)),
            60,
        )
    waiting.join(60)


async def test_an_upgrade_that_runs_is_waited_for_before_anything_is_locked(old: str, tmp_path: Path) -> None:
    """The bot goes on writing meanwhile, and what it wrote is in the backup."""
    plan = await look(old)
    with psycopg.connect(old, autocommit=True) as upgrade:
        upgrade.execute("SELECT pg_advisory_lock(%s)", (revisions.UPGRADE_LOCK,))
        replacing_it = asyncio.create_task(replace(old, plan, ReplaceOptions(tmp_path / "backup", "none")))
        async with asyncio.timeout(60):
            while not value(old, f"SELECT EXISTS ({_WAITING})"):
                assert not replacing_it.done()
                await asyncio.sleep(0.05)
        execute(old, "SET lock_timeout = '1s'; UPDATE clients SET name = 'written meanwhile'")
        upgrade.execute("SELECT pg_advisory_unlock(%s)", (revisions.UPGRADE_LOCK,))
    done = await asyncio.wait_for(replacing_it, 60)
    assert any("written meanwhile" in file.read_text() for file in done.backup.directory.glob("*.copy"))


async def test_an_archive_of_a_newer_pg_dump_restores(old: str, empty: str, tmp_path: Path, programs: Path) -> None:
    """Its script sets what an older server does not know."""
    for name in ("pg_dump", "pg_restore"):
        newer = tmp_path / name
        newer.write_text(
            f'#!/bin/sh\n[ "$1" = --version ] && echo "{name} (PostgreSQL) 99.1" || exec {programs}/{name} "$@"\n'
        )
        newer.chmod(0o700)
    before = phase08.texts(old, *phase08.TABLES)
    await carry_out(old, tmp_path / "backup", str(tmp_path / "pg_dump"))
    block = (tmp_path / "backup" / "README.md").read_text(encoding="utf-8").partition("```sh\n")[2].partition("```")[0]
    commands = block.partition("another_database\n")[2]
    assert "--dbname" not in commands
    assert "'/^SET transaction_timeout = 0;$/d'" in commands
    await asyncio.to_thread(
        subprocess.run, ["/bin/sh", "-e", "-c", commands], cwd=tmp_path / "backup", check=True, timeout=60,
        capture_output=True, env={"PATH": f"{programs}:/usr/bin:/bin", "DATABASE": empty},
    )  # fmt: skip
    assert phase08.texts(empty, *phase08.TABLES) == before


async def test_an_identity_goes_on_where_it_was(
    fresh_database: str, empty: str, tmp_path: Path, programs: Path
) -> None:
    execute(
        fresh_database,
        "CREATE TABLE clients (id integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, name text); "
        "INSERT INTO clients (name) VALUES ('a'), ('b')",
    )
    await carry_out(fresh_database, tmp_path / "backup")
    await asyncio.to_thread(
        subprocess.run,
        [programs / "psql", empty, "-v", "ON_ERROR_STOP=1", "--single-transaction", "-f", "restore.sql"],
        cwd=tmp_path / "backup", check=True, timeout=60, capture_output=True,
    )  # fmt: skip
    execute(empty, "INSERT INTO clients (name) VALUES ('c')")
    assert phase08.texts(empty, "clients") == {"clients": ["(1,a)", "(2,b)", "(3,c)"]}


async def test_a_copy_that_is_cancelled_too_late_to_tell_the_server(old: str, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is printed of the rollback that cannot be sent, and the transaction ends."""
    with Relay(postgres_address(old)) as relay:
        copying = asyncio.create_task(_copy_in_transaction(relay.way(old), relay))
        with pytest.raises(asyncio.CancelledError):
            await copying
        for _ in range(600):
            if value(old, _SESSIONS) == 0:
                break
            await asyncio.sleep(0.1)
        assert value(old, _SESSIONS) == 0
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


_SESSIONS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
    "AND application_name = 'botdata schema replace'"
)


async def _copy_in_transaction(url: str, relay: Relay) -> None:
    task = asyncio.current_task()
    assert task is not None
    async with revisions_transaction(url, step="schema replace") as (_, connection):
        relay.slow(0.5)
        # Once the statement is on its way; what would cancel it comes behind it.
        asyncio.get_running_loop().call_later(0.3, task.cancel)
        async with connection.cursor().copy("COPY clients TO STDOUT"):
            raise AssertionError("it was not cancelled in time")
