"""The flag chooses the store, and nothing that the other store needs is touched."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from app.data_layer import open_data_layer
from app.errors import SettingsError
from app.stores.supabase.backend import SupabaseBackend
from tests.fixtures.data_layer import MakeSettings

SUPABASE: dict[str, Any] = {"supabase_url": "http://127.0.0.1:1", "supabase_key": "sb_secret_x"}


@pytest.mark.parametrize(
    ("environment", "store"),
    [
        ({}, "Supabase"),
        ({"DATABASE_URL": ""}, "Supabase"),
        ({"USE_REPOSITORY_PATTERN": "false"}, "Supabase"),
        ({"USE_REPOSITORY_PATTERN": "true"}, "PostgreSQL"),
        ({"USE_REPOSITORY_PATTERN": "1", "USE_LEGACY_SUPABASE": "no"}, "PostgreSQL"),
        ({"CUTOVER_STAGE": "off"}, "Supabase"),
        ({"CUTOVER_STAGE": "rampdown"}, "PostgreSQL"),
        ({"CUTOVER_STAGE": "complete"}, "PostgreSQL"),
    ],
)
async def test_the_environment_chooses_the_store(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, environment: dict[str, str], store: str
) -> None:
    monkeypatch.chdir(tmp_path)  # no .env
    for name in ("USE_REPOSITORY_PATTERN", "USE_LEGACY_SUPABASE", "CUTOVER_STAGE"):
        monkeypatch.delenv(name, raising=False)
    nowhere = {
        "SUPABASE_URL": "http://127.0.0.1:1",
        "SUPABASE_KEY": "sb_secret_x",
        "DATABASE_URL": "postgres://u@127.0.0.1:1/d",
        "CUTOVER_SPOOL": str(tmp_path),
    }
    for name, value in {**nowhere, **environment}.items():
        monkeypatch.setenv(name, value)
    async with open_data_layer() as data:
        answer = await data.get_company(1)
        assert (answer.error_code, answer.error) == ("unavailable", f"{store} cannot be reached")


async def test_without_a_target_nothing_is_between_the_bot_and_supabase(settings_with: MakeSettings) -> None:
    async with open_data_layer(settings_with(use_repository_pattern=False, **SUPABASE)) as data:
        assert isinstance(data._backend, SupabaseBackend)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"use_repository_pattern": True}, "DATABASE_URL"),
        ({"use_repository_pattern": False}, "SUPABASE_URL"),
        ({"use_repository_pattern": False, "supabase_url": "http://x"}, "SUPABASE_KEY"),
        ({"use_repository_pattern": False, "use_legacy_supabase": False, **SUPABASE}, "USE_LEGACY_SUPABASE"),
        ({"database_url": "postgres://u@h/d", "default_timezone": "Moscow"}, "DEFAULT_TIMEZONE"),
    ],
)
async def test_a_setting_that_is_missing_is_named(
    settings_with: MakeSettings, given: dict[str, Any], named: str
) -> None:
    with pytest.raises(SettingsError, match=named):
        async with open_data_layer(settings_with(**given)):
            pass


SCRIPT = """
import asyncio, sys
from app.data_layer import open_data_layer
assert not {"sqlalchemy", "pydantic", "supabase", "phonenumbers", "httpx", "psycopg"} & sys.modules.keys()
async def main():
    async with open_data_layer() as data:
        answer = await data.get_client_by_phone("8 968 648-44-88")
        print(answer.success, answer.data, answer.error)
asyncio.run(main())
print(sorted({"supabase", "postgrest", "httpx"} & sys.modules.keys()))
"""


def test_without_supabase_nothing_of_it_is_imported(database_url: str, tmp_path: Any) -> None:
    environment = {
        "DATABASE_URL": database_url,
        "USE_REPOSITORY_PATTERN": "true",
        "USE_LEGACY_SUPABASE": "false",
        "PYTHONWARNINGS": "error",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stdout.splitlines(), done.stderr) == (["True None None", "[]"], "")


async def test_flipping_the_flag_changes_the_store_and_nothing_else(
    settings_with: MakeSettings, database_url: str, supabase_server_factory: Any
) -> None:
    from app.schema import revisions
    from tests.contract.stores import insert
    from tests.contract.test_upserts import client

    server = supabase_server_factory(revisions.upgrade)
    for url in (server.database_url, database_url):
        insert(url, "clients", {**client(1), "id": 5, "created_at": "2026-01-01", "updated_at": "2026-01-02"})
    answers = []
    for flag in (False, True, False):
        settings = settings_with(
            use_repository_pattern=flag,
            supabase_url=server.url,
            supabase_key=server.service_key,
            database_url=database_url,
        )
        async with open_data_layer(settings) as data:
            answers.append(await data.get_client_by_phone("8 968 448-44-88"))
    assert answers[0].data == answers[1].data == answers[2].data
    assert {type(answer.data) for answer in answers} == {type(answers[0].data)}
    assert answers[0].data is not None
