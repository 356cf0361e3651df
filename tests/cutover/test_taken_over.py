"""A cutover that an earlier version has left goes on with this one: its stage, its notes, its outbox and its spool."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pytest

from app.common.schemas import Schemas
from app.cutover.replication.to_supabase.drain import drain
from app.data_layer import open_data_layer
from app.migration.target.target_session import open_target
from app.settings import Settings
from app.state.tool_schema import ensure_tool_schema, newest_version
from app.state.versions import VERSIONS
from tests.cutover.forward import until
from tests.cutover.outbox_writers import client, entries
from tests.cutover.syncing import sync_clients
from tests.fixtures.cutover import MakeSettings, Pair

pytestmark = pytest.mark.usefixtures("looks_often")

_FIRST = 3  # the version of the tool's schema that brought the cutover
_ROWS = (
    "INSERT INTO clients (id, yclients_id, company_id, phone, name, created_at, updated_at) "
    "SELECT n, n, 1, '7', 'n' || n, '2026-01-02', '2026-01-02' FROM generate_series"
)
_PROCESS = """
INSERT INTO botdata.processes (name, stage, chosen_by, reported_at)
SELECT 'old:1:a', stage, 'CUTOVER_STAGE=database', now() - interval '1 hour' FROM botdata.stage
"""
_NOTES = """
INSERT INTO botdata.notes (process, table_name, key, state, noted_at) VALUES
    ('old:1:a', 'clients', '{2,1}', 'written', now() - interval '1 hour'),
    ('old:1:a', 'clients', '{3,1}', 'unknown', now() - interval '1 hour'),
    ('old:1:a', 'clients', '{5,1}', 'writing', now() - interval '1 hour')
"""
_SPOOL = '{"table":"clients","keys":[["4","1"]]}\n{"table":"clients","keys":[["6",'
_OUTBOX = """
INSERT INTO botdata.outbox (process, table_name, key, attempts, unsure, last_error, next_attempt_at) VALUES
    ('old:1:a', 'clients', '{2,1}', 0, true, NULL, now()),
    ('old:1:a', 'clients', '{3,1}', 4, false, 'Supabase is away', now()),
    ('old:1:a', 'clients', '{4,1}', 0, false, NULL, now())
"""


def make_version(url: str, version: int) -> None:
    """Schema `botdata` as a version of the tool made it."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS botdata CASCADE")
        connection.execute("CREATE SCHEMA botdata")
        connection.execute("CREATE TABLE botdata.version (version integer NOT NULL)")
        for number, ddl in enumerate(map(Schemas().named, VERSIONS[:version]), start=1):
            connection.execute(ddl)
            connection.execute("INSERT INTO botdata.version VALUES (%s)", [number])


async def _upgrade(url: str) -> None:
    async with open_target(url, step="test") as connection:
        await ensure_tool_schema(connection)


def _leave(pair: Pair, stage: str, settings: Settings) -> None:
    """What a process that was killed has left at a stage: rows that the other store lacks, and how it kept them."""
    ours, theirs = ("source", "target") if stage in {"off", "dualwrite", "shadow"} else ("target", "source")
    pair.ask(f"{_ROWS}(1, 4) n; SELECT setval('clients_id_seq', 100)", store=ours)
    pair.ask(f"{_ROWS}(1, 2) n; UPDATE clients SET name = 'old' WHERE id = 2", store=theirs)
    pair.ask(f"SELECT setval('clients_id_seq', 100); {_PROCESS}") if theirs == "target" else pair.ask(_PROCESS)
    if ours == "source":
        pair.ask(_NOTES)
        settings.cutover_spool.mkdir()
        (settings.cutover_spool / "old%3A1%3Aa.notes").write_text(_SPOOL)
    else:
        pair.ask(_OUTBOX)


@pytest.mark.parametrize("stage", ["dualwrite", "shadow", "live", "rampdown", "complete"])
async def test_a_cutover_goes_on(pair: Pair, settings_of: MakeSettings, stage: str) -> None:
    make_version(pair.target, newest_version() - 1)
    pair.set_stage(stage)
    is_forward = stage in {"dualwrite", "shadow"}
    settings = settings_of(note_timeout=20.0, outcome_settles_after=2.0 if is_forward else 0.1)
    _leave(pair, stage, settings)
    await _upgrade(pair.target)
    async with open_data_layer(settings) as data:
        await until(lambda: pair.ask("SELECT FROM botdata.processes WHERE name <> 'old:1:a'") != [])
        answer = await data.upsert_client(client(9, name="new"))
        assert answer.success, answer
        if is_forward:
            keys = "SELECT key[1] FROM botdata.notes WHERE process = 'old:1:a' ORDER BY 1"
            await until(lambda: pair.ask(keys) == [("2",), ("3",), ("4",), ("5",)])
            await until(lambda: list(settings.cutover_spool.glob("old*")) == [])
            await until(lambda: pair.ask("SELECT FROM botdata.notes WHERE process <> 'old:1:a'") == [])
            await sync_clients(pair, settles_after=0.0, overwrite=True)
            assert pair.ask("SELECT FROM botdata.notes") == []
        elif stage == "complete":
            assert len(entries(pair)) == 4
            await drain(settings, sends_recorded=True)
        if not is_forward:
            await until(lambda: entries(pair) == [])
    assert pair.texts("clients", "source") == pair.texts("clients", "target")
    assert len(pair.texts("clients", "target")) == 5


async def test_a_process_without_the_tables_of_its_version(pair: Pair, settings_of: MakeSettings) -> None:
    """One that is newer than the schema writes nothing, and says what makes it."""
    make_version(pair.target, _FIRST - 1)
    async with open_data_layer(settings_of()) as data:
        answer = await data.upsert_client(client(9, name="new"))
        assert answer.error_code == "unavailable"
        assert "botdata upgrade" in (answer.error or "")
        await _upgrade(pair.target)
        await until(lambda: pair.ask("SELECT FROM botdata.processes") != [])
        assert (await data.upsert_client(client(9, name="new"))).success


def _columns(url: str) -> dict[tuple[str, str], tuple[Any, ...]]:
    """The columns of schema `botdata`: type, and whether a row may be inserted without a value."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT relname, attname, format_type(atttypid, atttypmod), "
            "NOT attnotnull OR atthasdef OR attidentity <> '' FROM pg_attribute "
            "JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n ON n.oid = relnamespace "
            "WHERE nspname = 'botdata' AND relkind = 'r' AND attnum > 0 AND NOT attisdropped"
        ).fetchall()
    return {(table, column): rest for table, column, *rest in rows}


@pytest.mark.parametrize("version", range(_FIRST, newest_version()))
def test_processes_of_the_version_before_go_on_beside_the_new_schema(pair: Pair, version: int) -> None:
    """What a version adds stands in nobody's way: every column of before is as it was, and new ones need no value."""
    make_version(pair.target, version)
    before = _columns(pair.target)
    make_version(pair.target, version + 1)
    after = _columns(pair.target)
    assert {place: after.get(place) for place in before} == before
    tables = {table for table, _ in before}
    assert [
        place for place, (_, is_free) in after.items() if place[0] in tables and place not in before and not is_free
    ] == []
    assert not re.search(r"DROP (TABLE|COLUMN)|RENAME", VERSIONS[version])
