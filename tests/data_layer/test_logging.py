"""LOG_DATABASE_CALLS: each call with its time and outcome, and nobody's phone number, name or key."""

from __future__ import annotations

import asyncio
import logging
import re

import pytest
from sqlalchemy.engine import make_url

from app.data_layer import open_data_layer
from app.schema import revisions
from tests.contract.test_upserts import client
from tests.fixtures.data_layer import MakeSettings
from tests.support.supabase import SupabaseServer, SupabaseServers


@pytest.fixture(scope="module")
def supabase_to_log(supabase_server_factory: SupabaseServers) -> SupabaseServer:
    return supabase_server_factory(revisions.upgrade)


@pytest.mark.parametrize("store", ["postgresql", "supabase", "nowhere"])
async def test_calls_are_logged_without_anything_about_people(
    settings_with: MakeSettings,
    database_url: str,
    supabase_to_log: SupabaseServer,
    unused_tcp_port: int,
    caplog: pytest.LogCaptureFixture,
    store: str,
) -> None:
    answers = store == "supabase"
    key = supabase_to_log.service_key if answers else "sb_secret_planted"
    settings = settings_with(
        use_repository_pattern=store == "postgresql",
        supabase_url=supabase_to_log.url if answers else f"http://127.0.0.1:{unused_tcp_port}",
        supabase_key=key,
        database_url=database_url,
        log_database_calls=True,
    )
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "sqlalchemy.engine")  # quiet unless asked itself
    async with open_data_layer(settings) as data:
        await data.get_client_by_phone("+7 968 448-44-88")
        await data.get_client_by_phone("junk 9684484488")
        await data.upsert_client(client(1, phone="79684484488", name="Planted Name"))
        await data.upsert_dialog_context({"user_id": "79684484488@c.us"})
        await data.search_clients_by_name(1, "Planted Name")
    lines = [record.getMessage() for record in caplog.records if record.name == "app.data_layer"]
    shown = [re.sub(r"\d+\.\d ms", "T ms", line) for line in lines]
    outcome = "unavailable" if store == "nowhere" else "ok"
    assert shown == [
        f"get_client_by_phone T ms {outcome}",
        "get_client_by_phone T ms invalid_phone",
        f"upsert_client T ms {outcome}",
        f"upsert_dialog_context T ms {outcome}",
        f"search_clients_by_name T ms {outcome}",
    ]
    everything = "\n".join(record.getMessage() for record in caplog.records)
    for secret in ("4484488", "Planted", "planted", "%D0", "sb_secret", key):
        assert secret not in everything
    # The HTTP client's lines are there, as far as they tell nothing.
    if answers:
        sent = [record.getMessage() for record in caplog.records if record.name == "httpx"]
        assert sent[0] == f'HTTP Request: GET {supabase_to_log.url}/rest/v1/clients "HTTP/1.1 200 OK"'
        http11 = [record.getMessage() for record in caplog.records if record.name == "httpcore.http11"]
        assert http11.count("receive_response_headers.complete") == len(sent) == 4


async def test_nothing_is_logged_unless_asked(
    settings_with: MakeSettings, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "app.data_layer")
    async with open_data_layer(settings_with(database_url=database_url)) as data:
        await data.get_company(1)
    assert [record for record in caplog.records if record.name == "app.data_layer"] == []


async def test_a_store_that_is_away_is_told_of_once_a_minute(
    settings_with: MakeSettings, unused_tcp_port: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"postgresql://somebody:planted@127.0.0.1:{unused_tcp_port}/salon"
    async with open_data_layer(settings_with(use_repository_pattern=True, database_url=url)) as data:
        await asyncio.gather(*[data.get_company(number) for number in range(1, 31)])
        (record,) = caplog.records
        assert re.match(r"PostgreSQL cannot be reached \(.*: Connection refused.*\); calls .*: 1$", record.getMessage())
        assert not re.search("somebody|planted|salon|127", record.getMessage())
        monkeypatch.setattr("app.data_layer.executor._AWAY_LINES", 0.0)
        await data.get_company(1)
        assert caplog.messages[1].endswith("calls without an answer since the last such line: 30")


async def test_why_a_server_refuses_a_connection_is_logged(
    settings_with: MakeSettings, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = make_url(database_url).update_query_dict({"options": "-c nonsense=1"}).render_as_string(hide_password=False)
    async with open_data_layer(settings_with(database_url=url)) as data:
        assert (await data.get_company(1)).error_code == "unavailable"
    assert 'FATAL: unrecognized configuration parameter "..."' in caplog.text
