"""At the new place the move from Supabase goes on: by syncs from the source, or down the way back."""

from __future__ import annotations

from pathlib import Path

from tests.cli.command import Command
from tests.fixtures.cutover import Pair
from tests.migration.engine import add_clients, execute, query, row_texts, value
from tests.support.other_schemas import in_schema, searching


def test_a_copy_that_moved_is_synced_from_its_source(
    command: Command, source_database: str, fresh_database: str, tmp_path: Path
) -> None:
    add_clients(source_database, 30)
    old = {"MIGRATION_SOURCE": source_database, "DATABASE_URL": fresh_database, "DATABASE_SCHEMA": "t1"}
    new = {**old, "DATABASE_SCHEMA": "t2"}
    for line in ("migrate", "sync"):
        assert command(*line.split(), **old).code == 0
    assert command("schema", "move-out", "t1", "--to", "t1.zip", **old).code == 0
    refused = command("sync", **old)
    execute(source_database, "UPDATE clients SET notes = 'later' WHERE id = 3; DELETE FROM clients WHERE id = 5")
    refused = command("sync", **old)
    assert refused.code == 1
    come = command("schema", "move-in", "t1.zip", "--as", "t2", **new)
    assert come.code == 0, come.err
    target = searching(fresh_database, "t2,t2_botdata")
    assert value(target, "SELECT count(*) FROM verifications WHERE timeline IS NULL") > 0
    assert value(target, "SELECT count(*) FROM row_versions") == 0
    for line in ("sync", "verify", "status"):
        done = command(*line.split(), **new)
        assert done.code == 0, line + done.err + done.out
    assert row_texts(target, "clients") == row_texts(source_database, "clients")
    assert row_texts(searching(fresh_database, "t1"), "clients") != row_texts(source_database, "clients")


def test_the_way_back_is_open_at_the_new_place(command: Command, pair: Pair, tmp_path: Path) -> None:
    add_clients(pair.source, 5)
    stores = {"SUPABASE_URL": pair.supabase.url, "SUPABASE_KEY": pair.supabase.service_key}
    old = {**stores, "DATABASE_URL": in_schema(pair.target, "t1")}
    for line in ("upgrade", "copy", "verify", *["cutover advance --force X"] * 5):
        assert command(*line.split(), **old).code == 0, line
    mine = searching(pair.target, "t1,t1_botdata")
    execute(
        mine,
        "UPDATE clients SET notes = 'at complete' WHERE id = 2; INSERT INTO outbox (process, table_name, key, unsure) "
        "SELECT 'p', 'clients', ARRAY[yclients_id::text, company_id::text], false FROM clients WHERE id = 2",
    )
    address = {**stores, "DATABASE_URL": pair.target}
    assert command("schema", "move-out", "t1", "--to", "t1.zip", **address).code == 0
    assert command("schema", "move-in", "t1.zip", "--as", "t2", **address).code == 0
    new = {**stores, "DATABASE_URL": in_schema(pair.target, "t2")}
    assert query(searching(pair.target, "t2_botdata"), "SELECT stage FROM stage") == [("complete",)]
    for line in ("cutover back --force X", "mirror drain", "cutover status"):
        done = command(*line.split(), **new)
        assert done.code == 0, line + done.err + done.out
    assert pair.ask("SELECT notes FROM clients WHERE id = 2", store="source") == [("at complete",)]
    assert query(searching(pair.target, "t2_botdata"), "SELECT stage FROM stage") == [("rampdown",)]
