"""LOG_DATABASE_CALLS: each call with its time and outcome, and nobody's phone number, name or key."""

from __future__ import annotations

import logging
import re

import pytest

from app.data_layer import open_data_layer
from tests.contract.test_upserts import client
from tests.data_layer.conftest import MakeSettings


@pytest.mark.parametrize("repository", [False, True])
async def test_calls_are_logged_without_anything_about_people(
    settings_with: MakeSettings,
    database_url: str,
    unused_tcp_port: int,
    caplog: pytest.LogCaptureFixture,
    repository: bool,
) -> None:
    settings = settings_with(
        use_repository_pattern=repository,
        supabase_url=f"http://127.0.0.1:{unused_tcp_port}",
        supabase_key="sb_secret_planted",
        database_url=database_url,
        log_database_calls=True,
    )
    caplog.set_level(logging.DEBUG)
    async with open_data_layer(settings) as data:
        await data.get_client_by_phone("+7 968 448-44-88")
        await data.get_client_by_phone("junk 9684484488")
        await data.upsert_client(client(1, phone="79684484488", name="Planted Name"))
        await data.upsert_dialog_context({"user_id": "79684484488@c.us"})
        await data.search_clients_by_name(1, "Planted Name")
    lines = [record.getMessage() for record in caplog.records if record.name == "app.data_layer"]
    shown = [re.sub(r"\d+\.\d ms", "T ms", line) for line in lines]
    outcome = "ok" if repository else "unavailable"
    assert shown == [
        f"get_client_by_phone T ms {outcome}",
        "get_client_by_phone T ms invalid_phone",
        f"upsert_client T ms {outcome}",
        f"upsert_dialog_context T ms {outcome}",
        f"search_clients_by_name T ms {outcome}",
    ]
    everything = "\n".join(record.getMessage() for record in caplog.records)
    for secret in ("4484488", "Planted", "planted", "%D0", "sb_secret"):
        assert secret not in everything


async def test_httpx_logs_no_query(
    settings_with: MakeSettings, supabase_server_factory: object, caplog: pytest.LogCaptureFixture
) -> None:
    from app import revisions

    server = supabase_server_factory(revisions.upgrade)  # type: ignore[operator]
    settings = settings_with(use_repository_pattern=False, supabase_url=server.url, supabase_key=server.service_key)
    caplog.set_level(logging.INFO)
    async with open_data_layer(settings) as data:
        assert (await data.get_client_by_phone("79684484488")).success
    requests = [record.getMessage() for record in caplog.records if record.name == "httpx"]
    assert requests == [f'HTTP Request: GET {server.url}/rest/v1/clients "HTTP/1.1 200 OK"']


async def test_nothing_is_logged_unless_asked(
    settings_with: MakeSettings, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "app.data_layer")
    async with open_data_layer(settings_with(database_url=database_url)) as data:
        await data.get_company(1)
    assert [record for record in caplog.records if record.name == "app.data_layer"] == []
