"""`fleet status` names what is not well, salon by salon; the work on salons ends, or is broken off, as it should."""

import asyncio
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from psycopg import AsyncConnection

from app.errors import MigrationError
from app.fleet.each_salon import Fleet
from app.fleet.outcome import Outcome, SalonResult
from app.state.fleet.salons import Salon
from tests.cli.command import Command
from tests.cli.test_json import check_document
from tests.migration.engine import Told, execute, value

_SALONS = [Salon(f"t{number}", True, True, True) for number in (1, 2, 3)]


def test_it_names_what_is_not_well(command: Command, salons: str) -> None:
    well = command("fleet", "status", DATABASE_URL=salons)
    assert (well.code, "3 salons: 3 well" in well.out) == (0, True), well.out
    execute(salons, "UPDATE t1.alembic_version SET version_num = '0001'; UPDATE t2_botdata.stage SET stage = 'live'")
    execute(salons, "INSERT INTO t2_botdata.runs (command, source) VALUES ('copy', 'a source')")
    execute(
        salons,
        "INSERT INTO t2_botdata.quarantine (run_id, table_name, key, row_text, sqlstate, message) "
        "VALUES (1, 'clients', '{1}', '{}', '22000', 'refused')",
    )
    execute(salons, "CREATE SCHEMA t4; CREATE TABLE t4.alembic_version (version_num text)")
    execute(salons, "INSERT INTO t4.alembic_version VALUES ('ffff')")
    found = command("fleet", "status", "--only", "t?", DATABASE_URL=salons)
    lines = {line.split()[0]: " ".join(line.split()) for line in found.out.splitlines() if line.startswith("t")}
    assert found.code == 1
    assert lines["t3"] == "t3 0002 off well"
    assert "t1 0001 off not well the schema is at revision 0001, and this botdata's newest is 0002" in lines["t1"]
    assert lines["t1"].endswith("botdata fleet upgrade --only t1")
    assert "t2 0002 live not well run 1 (copy) has stopped before its end; 1 rows in quarantine" in lines["t2"]
    assert "DATABASE_SCHEMA=t2 botdata copy, with the same source and tables" in lines["t2"]
    assert "t4 ffff - not well" in lines["t4"]
    assert "pip install --upgrade" in lines["t4"]
    one = command("fleet", "status", "--only", "t3", "--json", DATABASE_URL=salons)
    assert (one.code, check_document(one.out, "fleet status")["next"]) == (0, None)


def test_a_salon_that_has_moved_out_is_named_so_and_left_as_it_is(
    command: Command, salons: str, tmp_path: Path
) -> None:
    execute(salons, "UPDATE t1_botdata.stage SET moved_out_at = '2026-01-02 03:04:05Z', archive = 'a', stage = 'off'")
    execute(salons, "UPDATE t1.alembic_version SET version_num = '0001'; DELETE FROM t1_botdata.version")
    sources = tmp_path / "sources.toml"
    sources.touch(mode=0o600)
    line = ("--only", "t1", "--json")
    for name, options in {"status": line, "upgrade": line, "verify": ("--sources", str(sources), *line)}.items():
        done = command("fleet", name, *options, DATABASE_URL=salons)
        (t1,) = check_document(done.out, f"fleet {name}")["salons"]
        assert (done.code, t1["outcome"], t1["revision"]) == (1 if name == "verify" else 0, "moved out", "0001")
        assert "2026-01-02T03:04:05Z" in t1["reason"]
        assert "botdata schema drop t1 --moved-in RECEIPT" in t1["next"]
    execute(salons, "UPDATE t1_botdata.stage SET archive = NULL")
    for name in ("status", "upgrade"):
        held = command("fleet", name, *line, DATABASE_URL=salons)
        (t1,) = check_document(held.out, f"fleet {name}")["salons"]
        assert (held.code, t1["outcome"], "--cancel" in t1["next"]) == (1, "not well", True)
    assert value(salons, "SELECT version_num FROM t1.alembic_version") == "0001"


@pytest.mark.separate_server
def test_a_salon_that_may_not_be_read_is_no_other_ones_matter(command: Command, salons: str) -> None:
    execute(salons, "CREATE ROLE fleet_reader; GRANT USAGE ON SCHEMA t2, t2_botdata TO fleet_reader")
    execute(salons, "GRANT SELECT ON ALL TABLES IN SCHEMA t2, t2_botdata TO fleet_reader")
    try:
        found = command("fleet", "status", DATABASE_URL=f"{salons}&options=-crole%3Dfleet_reader")
    finally:
        execute(salons, "DROP OWNED BY fleet_reader; DROP ROLE fleet_reader")
    assert "3 salons: 2 failed, 1 well" in found.out
    assert "DATABASE_URL" in found.out


@pytest.mark.parametrize("to_its_end", [True, False])
async def test_a_stop_ends_what_runs_or_breaks_it_off(salons: str, to_its_end: bool) -> None:
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def work(connection: AsyncConnection, salon: Salon) -> Outcome:
        if salon.name == "t2":
            begun.set()
            await goes_on.wait()
        await connection.execute("SELECT 1")
        return Outcome(salon.name, SalonResult.WELL)

    fleet = Fleet(salons, "fleet status", _SALONS, 1, Told(), to_its_end)
    running = asyncio.create_task(fleet.run(work))
    await asyncio.wait_for(begun.wait(), 60)
    running.cancel()
    await asyncio.sleep(0)
    goes_on.set()
    with suppress(asyncio.CancelledError):
        await asyncio.wait_for(running, 60)
    assert running.cancelled()
    seen = {name: one.result for name, one in fleet.outcomes.items()}
    assert seen == {
        "t1": SalonResult.WELL,
        "t2": SalonResult.WELL if to_its_end else SalonResult.NOT_DONE,
        "t3": SalonResult.NOT_DONE,
    }


async def test_a_lost_connection_is_made_anew_and_a_lost_database_stops_it(salons: str) -> None:
    async def work(connection: AsyncConnection, salon: Salon) -> Outcome:
        if salon.name == "t1":
            with psycopg.connect(salons, autocommit=True) as administrator:
                administrator.execute("SELECT pg_terminate_backend(%s)", [connection.info.backend_pid])
            await connection.execute("SELECT 1")
        if salon.name == "t2":
            fleet.url = salons.replace("port=", "port=1")
            await connection.close()
        return Outcome(salon.name, SalonResult.WELL)

    fleet = Fleet(salons, "fleet status", _SALONS, 1, Told(), False)
    with pytest.raises(MigrationError, match="cannot be reached") as stopped:
        await fleet.run(work)
    assert stopped.value.pending == "1 of 3 salons"
    seen = {name: one.result for name, one in fleet.outcomes.items()}
    assert seen == {"t1": SalonResult.FAILED, "t2": SalonResult.WELL, "t3": SalonResult.NOT_DONE}
