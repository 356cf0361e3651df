"""Sequences go past the highest id also where a run was ended after its rows were in and before it raised them."""

import asyncio
from collections.abc import Awaitable
from types import ModuleType
from typing import Any

import psycopg
import pytest
from sqlalchemy import BigInteger, Column, MetaData, Table, Text

from app.migration.sync import forward as sync_forward
from app.migration.sync import source_writers
from app.migration.tables.metadata import select_tables
from app.migration.verify import keyed_comparison
from app.migration.verify.options import VerifyOptions
from tests.fixtures.sources import MakeSource, Source
from tests.migration.engine import add_clients, copy_from, execute, tables, value, verify_from
from tests.migration.test_sync import sync_from
from tests.migration.test_sync_reverse import back


class Killed(BaseException):
    """Nothing handles it, as nothing handles a SIGKILL."""


def _work(module: ModuleType, connected: Source, target: str) -> Awaitable[Any]:
    if module is keyed_comparison:
        return verify_from(connected, target, tables("clients"), options=VerifyOptions(fix=True, pause=0.01))
    return (back if module is source_writers else sync_from)(connected, target, "clients")


@pytest.mark.parametrize(
    "module", [sync_forward, source_writers, keyed_comparison], ids=["sync", "sync back", "verify --fix"]
)
async def test_the_next_run_raises_them(
    connected: Source, database_url: str, monkeypatch: pytest.MonkeyPatch, module: ModuleType
) -> None:
    sides = [connected.database_url, database_url]
    if module is source_writers:
        sides.reverse()
    begins, follows = sides
    add_clients(connected.database_url, 5)
    await copy_from(connected, database_url, tables("clients"))
    add_clients(begins, 1, first=1000)

    async def killed(*arguments: object, **named: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(module, "raise_sequences", killed)
        with pytest.raises(Killed):
            await _work(module, connected, database_url)
    assert value(follows, "SELECT max(id) FROM clients") == 1000
    await _work(module, connected, database_url)
    assert value(follows, "SELECT nextval('clients_id_seq')") == 1001


async def test_no_row_comes_by_the_default_while_a_sequence_is_set_on(connected: Source, database_url: str) -> None:
    add_clients(connected.database_url, 5)
    waits = (  # in a clone of the database its table has the same number
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'clients'::regclass "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    insert = "INSERT INTO clients (yclients_id, phone) VALUES (77, '7')"
    with psycopg.connect(database_url) as writer:
        writer.execute("SELECT setval('clients_id_seq', 500)")
        writer.execute(insert)
        writer.execute("SELECT setval('clients_id_seq', 1)")  # as it stands in a target that was just filled
        copying = asyncio.create_task(copy_from(connected, database_url, tables("clients")))
        async with asyncio.timeout(60):
            while value(database_url, waits) == 0:
                assert not copying.done()
                await asyncio.sleep(0.02)
        writer.rollback()
    assert (await copying).complete
    assert value(database_url, "SELECT nextval('clients_id_seq')") == 6


METADATA = MetaData()
Table("given", METADATA, Column("id", BigInteger, primary_key=True), Column("v", Text))
ELSEWHERE = {
    "a function of another schema": (
        "CREATE SCHEMA internal; CREATE SEQUENCE internal.numbers; "
        "CREATE FUNCTION next_id() RETURNS bigint LANGUAGE sql AS $$ SELECT nextval('internal.numbers') $$; "
        "CREATE TABLE given (id bigint PRIMARY KEY DEFAULT next_id(), v text); "
    ),
    "the default of a domain": (
        "CREATE SCHEMA internal; CREATE SEQUENCE internal.numbers; "
        "CREATE DOMAIN numbered AS bigint DEFAULT nextval('internal.numbers'); "
        "CREATE TABLE given (id numbered PRIMARY KEY, v text); "
    ),
    "a partition": (
        "CREATE SCHEMA internal; CREATE TABLE given (id bigint PRIMARY KEY, v text) PARTITION BY RANGE (id); "
        "CREATE TABLE internal.first (id bigserial PRIMARY KEY, v text); "
        "ALTER TABLE given ATTACH PARTITION internal.first FOR VALUES FROM (MINVALUE) TO (MAXVALUE); "
    ),
}


@pytest.mark.parametrize("used_by", ELSEWHERE)
async def test_sequences_that_no_column_of_the_table_uses(
    make_source: MakeSource, fresh_database: str, used_by: str
) -> None:
    """Over REST those of no column at all are named: it does not show how far they are."""
    insert = f"INSERT INTO {'internal.first' if used_by == 'a partition' else 'given'} (v)"
    source = make_source(f"{ELSEWHERE[used_by]} {insert} SELECT 'v' FROM generate_series(1, 5)")
    execute(fresh_database, ELSEWHERE[used_by])
    report = await copy_from(source, fresh_database, select_tables(METADATA))
    if source.url.startswith("http") and used_by != "a partition":
        assert "internal.numbers" in " ".join(report.not_seen)
        return
    execute(fresh_database, f"{insert} VALUES ('new')")
    assert value(fresh_database, "SELECT max(id) FROM given") == 6
