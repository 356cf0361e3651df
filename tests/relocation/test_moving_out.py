"""What stops a salon from moving out, what a killed move leaves, and what holds at the old place."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from pathlib import Path

import psycopg
import pytest

from app.errors import MigrationError
from app.migration.target.target_session import open_target
from app.next_step import Command as NextCommand
from app.relocation import moving_out
from app.relocation.archive import Archive
from app.relocation.conditions import objections
from app.relocation.rows import tables_of
from app.state.cutover.stage import read_stage_row
from app.state.relocation.contents import LEFT, TAKEN
from tests.cli.command import Command
from tests.cli.test_json import check_document
from tests.migration.engine import Told, execute, value
from tests.relocation.salon import texts
from tests.support.other_schemas import in_schema


async def test_every_table_of_the_tool_goes_or_stays(salon: str, salons: str) -> None:
    async with open_target(in_schema(salons, "t1"), step="test") as connection:
        assert set(await tables_of(connection, "t1_botdata")) == {*TAKEN, *LEFT}
    assert not {*TAKEN} & {*LEFT}


def test_what_is_acknowledged_is_in_the_archive(salon: str, move_out, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    written: list[int] = []

    def write() -> None:
        with psycopg.connect(salon, autocommit=True) as connection:
            connection.execute("SET session_replication_role = replica")  # as a copy does
            for number in range(10_000, 30_000):
                try:
                    connection.execute(
                        "INSERT INTO clients (id, yclients_id, company_id, phone) VALUES (%s, %s, 1, '7')", [number] * 2
                    )
                except psycopg.errors.ReadOnlySqlTransaction:
                    return
                written.append(number)

    writer = threading.Thread(target=write)
    writer.start()
    while len(written) < 10 and writer.is_alive():
        time.sleep(0.01)
    done = move_out("--to", "t1.zip")
    writer.join(30)
    assert done.code == 0, done.err
    archive = Archive(tmp_path / "t1.zip", step="test")
    (clients,) = [table for table in archive.manifest.tables if table.name == "clients"]
    assert clients.rows == 39 + len(written)
    assert value(salon, "SELECT count(*) FROM clients") == clients.rows


def test_objects_of_the_users_own_are_named(salon: str, move_out, command: Command, salons: str) -> None:  # type: ignore[no-untyped-def]
    execute(
        salon,
        "CREATE TABLE t1.own (id serial PRIMARY KEY, what text); CREATE VIEW t1.latest AS SELECT id FROM t1.clients; "
        "CREATE FUNCTION t1.mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'; "
        "ALTER TABLE t1.staff ADD COLUMN own text; "
        "GRANT SELECT ON t1.clients TO pg_monitor",
    )
    own = ["table own", "table latest", "column staff.own", "sequence own_id_seq", "function mine()"]
    before = texts(salon, "t1")
    refused = move_out("--to", "t1.zip")
    assert refused.code == 1
    assert all(one in refused.err for one in own)
    assert "nothing was changed" in refused.err
    assert refused.err == move_out("--dry-run").err
    execute(salon, "UPDATE clients SET notes = 'written' WHERE id = 1; UPDATE clients SET notes = NULL WHERE id = 1")
    leave = [word for one in own for word in ("--leave", one)]
    done = move_out("--to", "t1.zip", *leave, "--json")
    assert done.code == 0, done.err
    assert check_document(done.out, "schema move-out")["left"] == sorted(own, key=json.loads(done.out)["left"].index)
    come = command("schema", "move-in", "t1.zip", "--as", "t2", DATABASE_URL=salons)
    assert come.code == 0, come.err
    assert "SELECT to pg_monitor on t1.clients" in come.out
    del before["own"]
    without = [row.rpartition(",")[0] + ")" for row in before["staff"]]
    assert texts(salon, "t2") == {**before, "staff": without}
    assert move_out("--to", "again.zip").code == 1
    wrong = move_out("--leave", "table none")
    assert wrong.code in {1, 2}


_CANNOT_MOVE = {
    "UPDATE stage SET stage = 'live'": "the cutover stands at live",
    "INSERT INTO notes (process, table_name, key) VALUES ('p', 'clients', '{1}')": "1 notes of the journal",
    "UPDATE outbox SET attempts = 1": "1 entries of the outbox may be on their way",
    "UPDATE stage SET stage = 'off'": "1 entries of the outbox have not been sent",
    "UPDATE runs SET state = 'running'": "a copy was begun",
    "INSERT INTO processes (name, stage, chosen_by) VALUES ('p:1', 'off', 'CUTOVER_STAGE=database')": (
        "process p:1 is at off and writes to Supabase"
    ),
    "INSERT INTO processes (name, stage, chosen_by, spooled) VALUES ('p:1', 'complete', 'x', 3)": (
        "process p:1 has 0 mirrors to make and 3 notes in a file"
    ),
    "INSERT INTO streams (name, source, server, publication, tables, lsn) VALUES ('s', 'p', '', '', '{}', '0/0')": (
        "has a slot there"
    ),
    "INSERT INTO moves (kind, from_stage, to_stage, state, hold_until, done_by) "
    "VALUES ('back', 'complete', 'rampdown', 'holding', now() + interval '1 hour', 'x')": "a move is under way",
    "INSERT INTO rehearsals (id, machine) VALUES ('a', 'm')": "1 rehearsals live",
}


async def test_state_that_cannot_move_is_refused(salons: str) -> None:
    async with open_target(in_schema(salons, "t1"), step="test") as connection:
        await connection.execute("SET search_path = t1_botdata")
        for statement, said in _CANNOT_MOVE.items():
            async with connection.transaction(force_rollback=True):
                await connection.execute(statement)
                against = await objections(connection, await read_stage_row(connection))
            assert [one.why for one in against if said in one.why], statement
            assert all(any(isinstance(part, NextCommand) for part in one.remedy) for one in against)
        assert await objections(connection, await read_stage_row(connection)) == []


def test_a_refused_one_changes_nothing(salon: str, move_out) -> None:  # type: ignore[no-untyped-def]
    execute(salon, "UPDATE stage SET stage = 'live'")
    refused = move_out("--to", "t1.zip")
    assert refused.code == 1
    assert "(with DATABASE_SCHEMA=t1)" in refused.err
    assert not list(Path().glob("t1*"))
    execute(salon, "UPDATE clients SET notes = 'goes on'")
    assert value(salon, "SELECT moves FROM stage") == 5


def test_a_killed_one_is_gone_on_with_or_cancelled(salon: str, move_out, salons: str) -> None:  # type: ignore[no-untyped-def]
    async def as_killed() -> None:
        url = in_schema(salons, "t1")
        async with open_target(url, step="test") as connection:
            await moving_out._hold_still(url, connection, ["clients", "whatsapp_auth"])

    asyncio.run(as_killed())
    Path("t1.zip.part").write_text("of the killed one")
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        execute(salon, "TRUNCATE clients")
    cancelled = move_out("--cancel", "--json")
    assert check_document(cancelled.out, "schema move-out")["cancelled"] is True
    execute(salon, "UPDATE clients SET notes = 'goes on'")
    assert "nothing was changed" in move_out("--cancel").out
    asyncio.run(as_killed())
    assert move_out("--to", "t1.zip").code == 0
    assert [path.name for path in Path().glob("t1*")] == ["t1.zip"]
    Archive(Path("t1.zip"), step="test")
    kinds = "move-out cancel move-out move-out"
    assert value(salon, "SELECT string_agg(kind, ' ' ORDER BY id) FROM moves") == kinds


async def test_no_upgrade_comes_between(salon: str, salons: str, tmp_path: Path) -> None:
    url, tried = in_schema(salons, "t1"), []

    class Upgrading(Told):
        def begin(self, table: str, total: int, done: int) -> None:
            with pytest.raises(psycopg.errors.LockNotAvailable):  # a table that is rewritten would be empty
                execute(salon, "SET lock_timeout = '50ms'; ALTER TABLE staff ALTER COLUMN company_id TYPE bigint")
            tried.append(table)

    leaving = await moving_out.look(url)
    execute(salon, "UPDATE t1.alembic_version SET version_num = '0001'")
    with pytest.raises(MigrationError, match="from revision 0002 to 0001 meanwhile"):
        await moving_out.move_out(url, leaving, tmp_path / "t1.zip", [], Told())
    execute(salon, "UPDATE t1.alembic_version SET version_num = '0002'; UPDATE clients SET notes = 'goes on'")
    await moving_out.move_out(url, leaving, tmp_path / "t1.zip", [], Upgrading())
    assert tried


def test_where_the_archive_fails_the_salon_goes_on(  # type: ignore[no-untyped-def]
    salon: str, move_out, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("there.zip").write_text("something else")
    assert "not overwritten" in move_out("--to", "there.zip").err
    assert Path("there.zip").read_text() == "something else"
    assert "cannot be written" in move_out("--to", "nowhere/t1.zip").err

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("app.relocation.archive.MemberWriter.write", full)
    failed = move_out("--to", "t1.zip")
    assert (failed.code, "No space left" in failed.err) == (1, True)
    assert not list(Path().glob("t1*"))
    execute(salon, "UPDATE clients SET notes = 'goes on'")


def test_at_the_old_place_no_command_goes_on(
    command: Command, archive: Path, salons: str, source_database: str
) -> None:
    settings = {"DATABASE_URL": salons, "DATABASE_SCHEMA": "t1"}
    for line in ("cutover back --force X", "cutover finish --yes", "uninstall --yes"):
        refused = command(*line.split(), **settings)
        assert (refused.code, "moved to another server" in refused.err) == (1, True), line + refused.err
    found = command("preflight", "--tables", "staff", "--json", "--source", source_database, **settings)
    (error,) = [one for one in json.loads(found.out)["findings"] if one["severity"] == "error"]
    assert (error["code"], "botdata schema move-out t1 --cancel" in error["remedy"]) == ("target-moved-out", True)
    assert "NOT SERVED HERE" in command("cutover", "status", **settings).out


def test_a_salon_that_is_not_there_or_too_old_is_named_in_the_next_command(command: Command, salons: str) -> None:
    missing = command("schema", "move-out", "t9", DATABASE_URL=salons)
    assert "correct the name, or DATABASE_URL, then: botdata schema move-out t9\n" in missing.err
    execute(salons, "DROP SCHEMA t1_botdata CASCADE")
    old = command("schema", "move-out", "t1", DATABASE_URL=salons)
    assert "then: botdata schema move-out t1 (with DATABASE_SCHEMA=t1)\n" in old.err
