"""Moving a salon in: damaged archives, what is there already, a kill; and dropping it at the old place."""

from __future__ import annotations

import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import psycopg
import pytest

from app.common.schemas import Schemas
from app.relocation.archive import Archive, TableRows
from app.state.tool_schema import _LOCK
from tests.cli.command import Command, start, wait_beside
from tests.cli.test_json import check_document
from tests.migration.engine import execute, query, value
from tests.relocation.salon import SCHEMAS, texts
from tests.support.other_schemas import searching
from tests.support.postgres import PostgresServer


def test_a_damaged_archive_is_refused_before_anything_is_written(command: Command, archive: Path, salons: str) -> None:
    whole = archive.read_bytes()
    before = query(salons, SCHEMAS)
    at = whole.index(b"data/clients.copy") + 60
    exchanged = BytesIO()  # of which ZIP's own sums are right
    with ZipFile(archive) as source, ZipFile(exchanged, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name).replace(b"name7\t", b"name_\t"))
    flipped = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
    flags = whole.index(b"PK\x01\x02") + 8  # of the list of members
    encrypted = whole[:flags] + b"\x01" + whole[flags + 1 :]
    for damaged in (encrypted, whole[:-100], whole[: len(whole) // 2], b"", flipped, exchanged.getvalue()):
        archive.write_bytes(damaged)
        refused = command("schema", "move-in", str(archive), "--as", "t2", DATABASE_URL=salons)
        assert refused.code == 1
        assert "cannot be used" in refused.err
        assert refused.err.endswith(f"then: botdata schema move-in {archive} --as t2\n")
        assert "nothing was written" in refused.err
        assert query(salons, SCHEMAS) == before
    assert command("schema", "move-in", "missing.zip", DATABASE_URL=salons).code == 1


def test_what_is_there_is_not_touched(command: Command, archive: Path, salons: str) -> None:
    taken = command("schema", "move-in", str(archive), DATABASE_URL=salons)
    assert taken.code == 1
    assert "--as ANOTHER_NAME" in taken.err
    tried = command("schema", "move-in", str(archive), "--as", "t2", "--dry-run", "--json", DATABASE_URL=salons)
    assert check_document(tried.out, "schema move-in")["moved_in"] is False
    assert query(salons, SCHEMAS) == [("t1",), ("t1_botdata",)]


def test_what_is_read_back_otherwise_is_rolled_back(
    command: Command, archive: Path, salons: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Archive.blocks

    def changed(self: Archive, table: TableRows) -> Iterator[bytes]:
        return (block.replace(b"name7\t", b"name_\t") for block in whole(self, table))

    monkeypatch.setattr(Archive, "blocks", changed)
    refused = command("schema", "move-in", str(archive), "--as", "t2", DATABASE_URL=salons)
    assert (refused.code, "read back, clients is not as the archive has it" in refused.err) == (1, True)
    assert query(salons, SCHEMAS) == [("t1",), ("t1_botdata",)]


def test_killed_amid_nothing_is_there(command: Command, archive: Path, salons: str, databases: PostgresServer) -> None:
    other = databases.create_database()
    try:
        with psycopg.connect(other, autocommit=True) as holder:
            holder.execute("SELECT pg_advisory_lock(%s)", [Schemas("t1").lock(_LOCK)])
            process = start("schema", "move-in", str(archive), directory=archive.parent, DATABASE_URL=other)
            waiting = (
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted "
                "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
            wait_beside(process, lambda: value(other, waiting) == 1)
            process.kill()
            process.communicate(timeout=60)
            others = "datname = current_database() AND pid <> pg_backend_pid()"
            holder.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")

        deadline = time.monotonic() + 60
        while query(other, SCHEMAS) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert query(other, SCHEMAS) == []
        done = command("schema", "move-in", str(archive), DATABASE_URL=other)
        assert done.code == 0, done.err
        assert texts(searching(other, "t1"), "t1") == texts(searching(salons, "t1"), "t1")
    finally:
        databases.drop_database(other)


def test_nothing_is_dropped_by_accident(command: Command, salon: str, salons: str) -> None:
    def drop(*words: str):  # type: ignore[no-untyped-def]
        return command("schema", "drop", *words, DATABASE_URL=salons)

    assert "has not moved out" in drop("t1").err
    assert drop("t1", "--yes-drop", "t2").code == 2
    assert "no schema t9" in drop("t9").err
    assert "public is no salon's" in drop("public", "--yes-drop", "public").err
    execute(salons, "CREATE SCHEMA t8; CREATE TABLE t8.theirs (id integer)")
    assert "no schema t8 with a salon" in drop("t8", "--yes-drop", "t8").err
    execute(salon, "DROP SCHEMA t8 CASCADE; UPDATE version SET version = version - 1")
    assert "cannot be read" in drop("t1", "--yes-drop", "t1").err
    execute(salon, "UPDATE version SET version = version + 1")
    execute(salon, "INSERT INTO processes (name, stage, chosen_by) VALUES ('p:1', 'complete', 'x')")
    assert "processes of the bot live" in drop("t1", "--yes-drop", "t1").err
    execute(salon, "DELETE FROM processes; CREATE VIEW public.latest AS SELECT id FROM t1.clients")
    assert "view latest" in drop("t1", "--yes-drop", "t1").err
    assert value(salon, "SELECT count(*) FROM clients") == 39
    execute(salon, "DROP VIEW public.latest")
    gone = drop("t1", "--yes-drop", "t1", "--json")
    assert gone.code == 0, gone.err
    check_document(gone.out, "schema drop")
    assert query(salons, SCHEMAS) == []


def test_a_receipt_drops_what_moved_and_no_table_that_stayed(  # type: ignore[no-untyped-def]
    command: Command, salon: str, salons: str, move_out
) -> None:
    execute(salon, "CREATE TABLE t1.own (id integer)")
    assert move_out("--to", "t1.zip", "--leave", "table own").code == 0
    execute(salon, "UPDATE version SET version = version - 1")  # of an older botdata: what has moved is not upgraded
    line = ("schema", "drop", "t1", "--moved-in", Archive(Path("t1.zip"), step="test").manifest.receipt)
    refused = command(*line, DATABASE_URL=salons)
    assert (refused.code, "stayed behind as t1 moved out, and would be lost: t1.own" in refused.err) == (1, True)
    execute(salon, "DROP TABLE t1.own")
    gone = command(*line, DATABASE_URL=salons)
    assert gone.code == 0, gone.err
    assert query(salons, SCHEMAS) == []
