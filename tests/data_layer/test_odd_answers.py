"""A Supabase that answers with too few rows, or with another request's: never taken for the rows that there are."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from app.data_layer import DataLayer, open_data_layer
from tests.contract.stores import insert
from tests.contract.test_upserts import SALON, client
from tests.data_layer.test_deadlines import until
from tests.fixtures.data_layer import MakeSettings
from tests.migration.engine import execute
from tests.support import faults
from tests.support.certificates import Authority
from tests.support.faults import Answer, Delivery, Fault
from tests.support.page_server import PageServer

ONE, OTHER = "79000000001", "79000000002"


@asynccontextmanager
async def _layer(settings_with: MakeSettings, server: PageServer) -> AsyncIterator[DataLayer]:
    settings = settings_with(use_repository_pattern=False, supabase_url=server.url, supabase_key=server.service_key)
    async with open_data_layer(settings) as data:
        yield data


def _insert_five_services(database_url: str) -> None:
    services = [{"yclients_id": str(n), "company_id": str(SALON), "title": f"service {n}"} for n in range(5)]
    insert(database_url, "services", *services)


@pytest.mark.parametrize("spoil", [faults.row_left_out(0), faults.agreeing(faults.row_left_out(0))])
async def test_a_row_that_is_left_out_once(settings_with: MakeSettings, database_url: str, spoil: Fault) -> None:
    insert(database_url, "clients", client(1, phone=ONE))
    _insert_five_services(database_url)
    with PageServer(database_url, max_rows=2) as server:
        async with _layer(settings_with, server) as data:
            server.hook = faults.queue([spoil])
            assert (await data.get_client_by_phone(ONE)).data is not None
            for spoiled in range(3):  # of its three pages
                server.hook = faults.queue([*[None] * spoiled, spoil])
                assert len((await data.get_services(SALON)).data or ()) == 5
            server.hook = faults.queue([spoil])
            assert (await data.get_client_by_id(1, SALON)).data is not None


@pytest.mark.parametrize(
    "spoilt",
    [[faults.content_range(None), faults.agreeing(faults.row_left_out(0))], [faults.content_range("0-/2")]],
    ids=["none, and then a row left out", "in a range that is none"],
)
async def test_a_first_page_without_a_count(
    settings_with: MakeSettings, database_url: str, spoilt: list[Fault]
) -> None:
    _insert_five_services(database_url)
    with PageServer(database_url, max_rows=2) as server:
        async with _layer(settings_with, server) as data:
            server.hook = faults.queue(list(spoilt))
            assert len((await data.get_services(SALON)).data or ()) == 5


def _none(answer: Answer) -> Answer:
    """As the answer to a request that no row fits."""
    return replace(answer, status=200, headers={**answer.headers, "Content-Range": "*/0"}, body=b"[]", rows=0)


@pytest.mark.parametrize("page", range(1, 3))
async def test_the_answer_to_a_request_without_rows_amid_pages_by_number(
    settings_with: MakeSettings, database_url: str, page: int
) -> None:
    insert(database_url, "staff", {"yclients_id": "1", "company_id": str(SALON), "name": "a"})
    days = [{"staff_id": "1", "date": f"2026-12-{n:02}", "staff_name": "a"} for n in range(1, 6)]
    insert(database_url, "staff_schedules", *days)
    with PageServer(database_url, max_rows=2) as server:
        async with _layer(settings_with, server) as data:
            server.hook = faults.queue([None, *[None] * page, _none])
            assert len((await data.get_staff_schedules(SALON)).data or ()) == 5


def _of_more_columns(answer: Answer) -> Answer:
    """As the answer to a request for another table."""
    rows = [{**row, f"_{len(row)}": "x", "_0": "99"} for row in json.loads(answer.body)]
    return replace(answer, body=json.dumps(rows).encode())


async def test_the_answer_to_a_request_for_another_table(settings_with: MakeSettings, database_url: str) -> None:
    insert(database_url, "services", {"yclients_id": "1", "company_id": str(SALON), "title": "service"})
    with PageServer(database_url) as server:
        async with _layer(settings_with, server) as data:
            right = await data.get_services(SALON)
            server.hook = faults.queue([_of_more_columns])
            assert (await data.get_services(SALON)).data == right.data != []


@pytest.mark.parametrize("place", [0, 0.5])
@pytest.mark.parametrize("page", range(3))
async def test_a_row_that_is_left_out_of_pages_by_number(
    settings_with: MakeSettings, database_url: str, place: float, page: int
) -> None:
    """What comes after it moves up, so that another row is on two pages."""
    insert(database_url, "staff", {"yclients_id": "1", "company_id": str(SALON), "name": "Анна"})
    days = [{"staff_id": "1", "date": f"2026-01-0{n}", "staff_name": "Анна"} for n in range(1, 6)]
    insert(database_url, "staff_schedules", *days)
    with PageServer(database_url, max_rows=2) as server:
        async with _layer(settings_with, server) as data:
            server.hook = faults.queue([None, *[None] * page, faults.agreeing(faults.row_left_out(place))])
            found = (await data.get_staff_schedules(SALON)).data or []
    assert [one.date.day for one in found] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("gone", ["= 1", "< 6"], ids=["one", "so many that the next page is past the end"])
async def test_rows_that_go_between_two_pages_by_number(
    settings_with: MakeSettings, database_url: str, gone: str
) -> None:
    """What comes after them moves up: a row would be on no page."""
    insert(database_url, "staff", {"yclients_id": "1", "company_id": str(SALON), "name": "Анна"})
    days = [{"staff_id": "1", "date": f"2026-01-0{n}", "staff_name": "Анна"} for n in range(1, 7)]
    insert(database_url, "staff_schedules", *days)

    def go(request: faults.Request) -> None:
        if request.parameter("offset") == "2":
            execute(database_url, f"DELETE FROM staff_schedules WHERE extract(day FROM date) {gone}")

    with PageServer(database_url, max_rows=2, hook=go) as server:
        async with _layer(settings_with, server) as data:
            found = (await data.get_staff_schedules(SALON, limit=3)).data or []
    assert [one.date.day for one in found] == ([2, 3, 4] if gone == "= 1" else [6])


async def test_a_row_that_is_left_out_always_is_an_error(settings_with: MakeSettings, database_url: str) -> None:
    insert(database_url, "clients", client(1, phone=ONE))
    with PageServer(database_url, hook=lambda _request: faults.agreeing(faults.row_left_out(0))) as server:
        async with _layer(settings_with, server) as data:
            found = await data.get_client_by_phone(ONE)
    assert (found.success, found.error_code) == (False, "unavailable")


async def test_another_client_s_answer_is_asked_for_again(settings_with: MakeSettings, database_url: str) -> None:
    insert(database_url, "clients", client(1, phone=ONE), client(2, phone=OTHER))
    kept: list[Answer] = []

    def keep(answer: Answer) -> Answer:
        kept.append(answer)
        return answer

    with PageServer(database_url, hook=faults.queue([keep, lambda _answer: kept[0]])) as server:
        async with _layer(settings_with, server) as data:
            assert (await data.get_client_by_phone(ONE)).data is not None
            other = (await data.get_client_by_phone(OTHER)).data
    assert other is not None
    assert other.phone == OTHER


def _nested(answer: Answer) -> Answer:
    return replace(answer, body=b"[" * 100_000)


@pytest.mark.parametrize("spoil", [faults.html_page(), _nested, lambda _answer: replace(_nested(_answer), status=500)])
async def test_what_is_not_postgrests_is_no_answer_to_anything(
    settings_with: MakeSettings, database_url: str, spoil: Fault
) -> None:
    with PageServer(database_url, hook=lambda _request: spoil) as server:
        async with _layer(settings_with, server) as data:
            read, health = await data.get_services(SALON), await data.health_check()
            write = await data.upsert_client(client(1))
    assert (read.error_code, health.error_code, write.error_code) == ("unavailable", "unavailable", "outcome_unknown")


async def test_a_gateway_that_answers_in_the_clear_amid_tls(
    settings_with: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority.make(tmp_path, "own")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority.sign("127.0.0.1"))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = writer.transport
        await writer.start_tls(context)
        await reader.readuntil(b"\r\n\r\n")
        line.write(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")

    monkeypatch.setattr(
        "app.stores.supabase.client._authorities", lambda: ssl.create_default_context(cafile=authority.path)
    )
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        address = "https://127.0.0.1:{1}".format(*server.sockets[0].getsockname())
        settings = settings_with(use_repository_pattern=False, supabase_url=address, supabase_key="sb_secret_made_up")
        async with open_data_layer(settings) as data:
            read, write = await asyncio.gather(data.get_company(SALON), data.upsert_client(client(1)))
    assert (read.error_code, write.error_code) == ("unavailable", "outcome_unknown")


async def test_a_write_that_was_sent_before_the_end_may_have_landed(
    settings_with: MakeSettings, database_url: str
) -> None:
    with PageServer(database_url, hook=lambda _request: faults.delivered(Delivery.NEVER)) as server:
        async with _layer(settings_with, server) as data:
            writing = asyncio.create_task(data.upsert_client(client(1)))
            await until(database_url, "SELECT count(*) FROM clients", 1)
        assert (await writing).error_code == "outcome_unknown"


@pytest.mark.parametrize(
    ("status", "headers", "code", "said"),
    [
        (540, {}, "unavailable", "the project is paused; restore it in Supabase's dashboard [HTTP 540]"),
        (402, {}, "unavailable", "the project is restricted; look at its usage and billing in Supabase's dashboard"),
        (301, {"location": "https://example.com/"}, "store_error", "SUPABASE_URL leads to another address than"),
    ],
)
async def test_a_gateway_that_turns_calls_away_has_written_nothing_and_says_what_to_do(
    settings_with: MakeSettings, database_url: str, status: int, headers: dict[str, str], code: str, said: str
) -> None:
    def turned_away(answer: Answer) -> Answer:
        return replace(answer, status=status, headers=headers, body=b"<html>Not here</html>")

    with PageServer(database_url) as server:
        server.hook = lambda _: turned_away
        async with _layer(settings_with, server) as data:
            for answer in (await data.get_client_by_phone(ONE), await data.upsert_client(client(1))):
                assert answer.error_code == code
                assert answer.error is not None
                assert answer.error.startswith(said)
