"""A salon moves from one server to another: the same rows as text, ids that go on, and the cutover's state."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from app.data_layer import open_data_layer
from app.settings import Settings
from tests.cli.command import Command, start
from tests.cli.test_json import check_document
from tests.migration.engine import execute, query, value
from tests.relocation.salon import salon_in, texts
from tests.support.other_schemas import in_schema, searching
from tests.support.streaming import run_cluster


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    """A database of another server."""
    with run_cluster(standbys=0) as cluster:
        cluster.primary.execute("CREATE DATABASE salons")
        yield cluster.primary.url("salons")


def settings_of(database: str, schema: str) -> Settings:
    return Settings(
        _env_file=None,
        database_url=in_schema(database, schema),
        cutover_stage="database",
        supabase_url="http://127.0.0.1:1",  # which is not asked at `complete`
        supabase_key="key",
    )


def test_from_one_server_to_another_under_another_name(
    command: Command, salons: str, elsewhere: str, tmp_path: Path
) -> None:
    old = salon_in(salons)
    before = texts(old, "t1")
    archive = tmp_path / "t1.zip"

    async def beside() -> tuple[list[bool], list[str | None]]:
        """A process of the bot lives on the salon as it moves out."""
        async with open_data_layer(settings_of(salons, "t1")) as data:
            answers = [await data.get_client_by_phone("79000000001")]
            line = ("schema", "move-out", "t1", "--to", "t1.zip")
            moving = start(*line, directory=tmp_path, DATABASE_URL=salons)
            said, complained = await asyncio.to_thread(moving.communicate, timeout=60)
            assert moving.returncode == 0, complained
            assert "answer unavailable until" in said
            row = {"yclients_id": 7, "company_id": 1, "phone": "79000000007", "name": "lost"}
            answers.append(await data.upsert_clients([row]))
            async with asyncio.timeout(60):
                while (read := await data.get_client_by_phone("79000000001")).success:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            answers.append(read)
        return [one.success for one in answers], [one.error_code for one in answers]

    assert asyncio.run(beside()) == ([True, False, False], [None, "unavailable", "unavailable"])
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    assert texts(old, "t1") == before
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        execute(old, "UPDATE whatsapp_auth SET creds = '{}'")
    execute(elsewhere, "SET default_text_search_config = 'simple'")
    done = command("schema", "move-in", str(archive), "--as", "salon_17", "--json", DATABASE_URL=elsewhere)
    assert done.code == 0, done.err
    document = check_document(done.out, "schema move-in")
    new = searching(elsewhere, "salon_17,salon_17_botdata")
    assert texts(new, "salon_17") == before
    assert value(new, "INSERT INTO clients (yclients_id, company_id, phone) VALUES (1, 9, '7') RETURNING id") == 4001
    assert value(new, "INSERT INTO runs (command, source) VALUES ('sync', 'x') RETURNING id") == 2
    assert query(new, "SELECT stage, moved_at IS NOT NULL, moves, timeline, lsn < 'F/0', moved_out_at FROM stage") == [
        ("complete", True, 7, 1, True, None)
    ]
    assert query(new, "SELECT table_name, key FROM outbox UNION ALL SELECT table_name, key FROM quarantine") == [
        ("clients", ["1"]), ("clients", ["9"]),
    ]  # fmt: skip
    assert value(new, "SELECT count(*) FROM processes") == 0
    # Its functions are its own, whatever the path of the caller.
    assert value(elsewhere, "SELECT deleted_count FROM salon_17.cleanup_expired_whatsapp_keys()") == 1
    assert value(old, "SELECT count(*) FROM whatsapp_keys") == 1

    async def there() -> bool:
        async with open_data_layer(settings_of(elsewhere, "salon_17")) as data:
            answer = await data.upsert_clients(
                [{"yclients_id": 8, "company_id": 1, "phone": "79000000008", "name": "new"}]
            )
            return answer.success

    assert asyncio.run(there())
    early = command("schema", "drop", "t1", DATABASE_URL=salons)
    assert early.code == 1
    assert "--moved-in RECEIPT" in early.err
    assert command("schema", "drop", "t1", "--moved-in", "0" * 12, DATABASE_URL=salons).code == 1
    gone = command(*document["next"].split()[1:], DATABASE_URL=salons)
    assert gone.code == 0, gone.err
    assert value(salons, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 't1%%'") == 0
