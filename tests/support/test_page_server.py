"""The page server against exchanges recorded from a real PostgREST, and each of its faults as a client meets it."""

import json
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from app.embedded import prepare_supabase_roles
from tests.support import faults
from tests.support.faults import Delivery
from tests.support.page_server import PageServer

_RECORDED = json.loads((Path(__file__).parents[1] / "rest" / "exchanges.json").read_text())["exchanges"]
_FIRST_WRITE = next(i for i, exchange in enumerate(_RECORDED) if exchange["request"]["method"] == "POST")
_NOT_ITS_OWN = ("Accept", "ilike", "imatch", "or=(", "/rpc/")


def _is_understood(exchange: dict[str, Any]) -> bool:
    request = exchange["request"]
    asked = " ".join([request["path"], *request["headers"]])
    return request["method"] in {"GET", "HEAD"} and not any(word in asked for word in _NOT_ITS_OWN)


_UNDERSTOOD = [exchange for exchange in _RECORDED if _is_understood(exchange)]


# Rows of which the recordings show only parts: enough to begin with, filled in from the parts.
_BEGINNINGS = """
INSERT INTO clients (id, yclients_id, phone, visit_count)
    SELECT n, n, '79000000000', 1 FROM generate_series(1, 107) n WHERE n <= 5 OR n > 100;
INSERT INTO services (id, yclients_id, title, weight) SELECT n, n, '', 0 FROM generate_series(1, 12) n;
INSERT INTO bookings (id, yclients_record_id, datetime, status)
    SELECT ('00000000-0000-4000-8000-000000' || n)::uuid, n, '2026-10-04', 'cancelled'
    FROM generate_series(700001, 700045) n;
"""
_PIECED = {"clients": "id", "services": "id", "bookings": "yclients_record_id"}


@pytest.fixture
def recorded_database(database_url: str) -> str:
    """The rows that the recordings show."""
    prepare_supabase_roles(database_url)
    with psycopg.connect(database_url) as connection:
        connection.execute(_BEGINNINGS)
        for exchange in _UNDERSTOOD:
            body, status = exchange["response"]["body"], exchange["response"]["status"]
            columns = list((json.loads(body) or [{}])[0]) if body and status == 200 else []
            table = exchange["request"]["path"].removeprefix("/").partition("?")[0]
            rows = f"json_populate_recordset(NULL::{table}, %s) r"
            if not columns:
                continue
            if (key := _PIECED.get(table)) is None:
                connection.execute(f"INSERT INTO {table} SELECT * FROM {rows} ON CONFLICT DO NOTHING", [body])
            elif key in columns:
                changes = ", ".join(f"{column} = r.{column}" for column in columns)
                connection.execute(f"UPDATE {table} t SET {changes} FROM {rows} WHERE t.{key} = r.{key}", [body])
        connection.execute("ALTER TABLE clients ENABLE ROW LEVEL SECURITY; REVOKE ALL ON messages FROM anon")
    return database_url


@pytest.fixture
def odd_table(fresh_database: str) -> str:
    """Twelve rows with a composite key, a column of an odd name, and values that JSON loses."""
    with psycopg.connect(fresh_database) as connection:
        connection.execute(
            """
            CREATE TABLE odd (a integer, b text, "od""d, 100% name" jsonb, PRIMARY KEY (a, b));
            INSERT INTO odd SELECT n % 3, 'k"' || chr(65 + n), '{"n": 1.10}' FROM generate_series(0, 10) n;
            INSERT INTO odd VALUES (7, 'z', 'null')""".replace('\\"', '""')
        )
    return fresh_database


def _get(server: PageServer, path: str) -> httpx.Response:
    return httpx.get(f"{server.url}/rest/v1/{path}", headers={"apikey": server.service_key}, timeout=10)


def test_answers_as_recorded(recorded_database: str) -> None:
    differences = []
    with PageServer(recorded_database, max_rows=10) as server, httpx.Client(base_url=f"{server.url}/rest/v1") as client:
        server.roles["another key of anon's"] = "anon"
        keys = {"service_role": server.service_key, "anon": server.anon_key, "anon-denied": "another key of anon's"}
        for exchange in _UNDERSTOOD:
            request, recorded = exchange["request"], exchange["response"]
            key = keys.get(exchange["role"], "no.such.key")
            headers = {**request["headers"], "Authorization": f"Bearer {key}"}
            response = client.request(request["method"], request["path"], headers=headers)
            answered = {name: response.headers.get(name) for name in recorded["headers"]}
            body = recorded["body"]
            if exchange["name"] == "misspelled table":  # PostgREST guesses at what was meant; here there is no guess
                body = body.replace("\"Perhaps you meant the table 'public.clients'\"", "null")
            got, expected = (
                (response.status_code, answered, response.text),
                (recorded["status"], recorded["headers"], body),
            )
            if got != expected:
                differences.append((exchange["name"], got, expected))
    assert differences == []
    assert len(_UNDERSTOOD) == 29


def test_pages_by_a_composite_key_with_odd_names(odd_table: str) -> None:
    select = 'select=a::text,b::text,"od%5C"d, 100%25 name"::text&order=a.asc,b.asc'
    with PageServer(odd_table) as server:
        after = _get(server, f'odd?{select}&a=eq.1&b=gt.k"E&limit=1')
        listed = _get(server, 'odd?select=b::text&b=in.("k%5C"C","z")&order=b')
        others = _get(server, 'odd?select=b&b=not.in.("k%5C"C","z")&b=not.is.null&a=not.gt.0')
        without = _get(server, "odd?select=b&b=in.()")
    assert after.text == '[{"a":"1","b":"k\\"H","od\\"d, 100% name":"{\\"n\\": 1.10}"}]'
    assert listed.json() == [{"b": 'k"C'}, {"b": "z"}]
    assert others.json() == [{"b": 'k"A'}, {"b": 'k"D'}, {"b": 'k"G'}, {"b": 'k"J'}]
    assert without.text == "[]"


def test_refuses_what_it_would_have_to_guess(odd_table: str) -> None:
    with PageServer(odd_table) as server:
        for path in (
            "odd?or=(a.eq.1,a.eq.2)",
            "odd?b=like.k*",
            "odd?select=a,things(b)",
            "odd?order=a.up",
            "odd?limit=x",
        ):
            assert _get(server, path).status_code == 501, path
        assert _get(server, "odd?b=eq." + "k" * 8000).status_code == 414


def test_compresses_where_asked(odd_table: str) -> None:
    with PageServer(odd_table, compress=True) as server:
        packed = httpx.get(
            f"{server.url}/rest/v1/odd?order=a,b", headers={"apikey": server.service_key, "Accept-Encoding": "gzip"}
        )
    assert packed.headers["Content-Encoding"] == "gzip"
    assert len(packed.json()) == 12


def test_keeps_what_was_asked(odd_table: str) -> None:
    with PageServer(odd_table, hook=faults.at({2: faults.status(503)})) as server:
        answers = [_get(server, f"odd?select=a&order=a,b&limit={n}&a=gt.0") for n in (2, 3, 4)]
    assert [answer.status_code for answer in answers] == [200, 503, 200]
    assert [(seen.status, seen.rows, seen.faulty) for seen in server.exchanges] == [
        (200, 2, False),
        (503, 0, True),
        (200, 4, False),
    ]
    assert [seen.request.parameter("limit") for seen in server.pages("odd")] == ["2", "4"]
    assert server.pages("odd")[1].size == len(answers[2].content)
    assert server.pages("other") == []


def test_error_answers(odd_table: str) -> None:
    replies = [
        faults.status(429, retry_after=2),
        faults.status(520),
        faults.statement_timeout(),
        faults.html_page(),
    ]
    with PageServer(odd_table, hook=faults.queue(replies)) as server:
        limited, gateway, timeout, page, good = (_get(server, "odd?select=a&limit=1") for _ in range(5))
    assert (limited.status_code, limited.headers["Retry-After"]) == (429, "2")
    assert gateway.status_code == 520
    assert (timeout.status_code, timeout.json()["code"]) == (500, "57014")
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert good.json() == [{"a": 0}]


def test_spoiled_bodies(odd_table: str) -> None:
    spoilers = [faults.cut_json(), faults.garbage(), faults.row_missing(), faults.delivered(Delivery.SLOW, pause=0.01)]
    with PageServer(odd_table, hook=faults.queue(spoilers)) as server:
        cut, garbage, fewer, slow, good = (_get(server, "odd?select=a&order=a,b") for _ in range(5))
    assert len(good.json()) == 12
    assert cut.text == good.text[: len(good.text) // 2]
    assert cut.headers["Content-Length"] == str(len(cut.content))
    with pytest.raises((UnicodeDecodeError, json.JSONDecodeError)):
        garbage.json()
    assert fewer.json() == good.json()[:-1]
    assert slow.content == good.content


@pytest.mark.parametrize(
    ("delivery", "error"),
    [
        (Delivery.SHORT, httpx.RemoteProtocolError),
        (Delivery.RESET_IN_BODY, httpx.ReadError),
        (Delivery.RESET, httpx.ReadError),
        (Delivery.CHUNKS_CUT, httpx.RemoteProtocolError),
        (Delivery.NEVER, httpx.ReadTimeout),
    ],
)
def test_broken_deliveries(odd_table: str, delivery: Delivery, error: type[Exception]) -> None:
    with (
        PageServer(odd_table, hook=faults.queue([faults.delivered(delivery)])) as server,
        httpx.Client(base_url=server.url, headers={"apikey": server.service_key}, timeout=0.3) as client,
    ):
        with pytest.raises(error):
            client.get("/rest/v1/odd?select=a")
        assert len(client.get("/rest/v1/odd?select=a").json()) == 12
    assert sorted((seen.status, seen.whole) for seen in server.exchanges) == [(200, False), (200, True)]


def test_a_longer_body_than_said_and_a_reset_behind_one(odd_table: str) -> None:
    hook = faults.queue([faults.delivered(Delivery.OVERLONG), faults.delivered(Delivery.RESET_BEHIND)])
    with PageServer(odd_table, hook=hook) as server:
        overlong, behind, good = (_get(server, "odd?select=a&order=a,b") for _ in range(3))
    assert overlong.text == good.text[: len(good.text) // 2]
    assert behind.content == good.content


def test_pages_that_lie(odd_table: str) -> None:
    lies = [
        faults.row_left_out(0.5),
        faults.rows_twice(),
        faults.content_range("0-0/7"),
        faults.content_range(None),
        faults.instead(faults.Answer(200, faults.JSON, b"[7]", 1)),
        faults.agreeing(faults.row_left_out(0)),
    ]
    with PageServer(odd_table, hook=faults.queue(lies)) as server:
        out, twice, ranged, unranged, other, fewer, good = (_get(server, "odd?select=a&order=a,b") for _ in range(7))
    rows = good.json()
    assert out.json() == rows[:6] + rows[7:]
    assert twice.json() == [row for row in rows for _ in range(2)]
    assert [answer.headers.get("Content-Range") for answer in (out, ranged, unranged)] == ["0-11/*", "0-0/7", None]
    assert (ranged.json(), unranged.json(), other.json()) == (rows, rows, [7])
    assert (fewer.json(), fewer.headers["Content-Range"]) == (rows[1:], "0-10/*")


def test_answers_that_are_not_postgrests(odd_table: str) -> None:
    replies = [faults.postgrest(503, "PGRST002"), faults.redirect(302), faults.gzip_garbage(), faults.gzip_cut()]
    with PageServer(odd_table, hook=faults.queue(replies)) as server:
        loading, moved = (_get(server, "odd?select=a") for _ in range(2))
        with pytest.raises(httpx.DecodingError):
            _get(server, "odd?select=a")
        with pytest.raises((json.JSONDecodeError, UnicodeDecodeError)):
            _get(server, "odd?select=a").json()
    assert (loading.status_code, loading.json()["code"]) == (503, "PGRST002")
    assert (moved.status_code, moved.headers["Location"]) == (302, "/login")


def test_says_what_it_was_asked(odd_table: str) -> None:
    with PageServer(odd_table) as server:
        answer = _get(server, 'odd?select=b&b=in.("z","ё")&a=gt.0&a=lt.9')
    assert answer.headers["Content-Location"] == "/odd?a=gt.0%2Clt.9&b=in.%28%22z%22%2C%22%D1%91%22%29&select=b"


def test_a_restart_closes_the_port_and_opens_it_again(odd_table: str) -> None:
    with PageServer(odd_table) as server, httpx.Client(headers={"apikey": server.service_key}, timeout=10) as client:

        def ask_until_refused() -> None:
            while True:
                with suppress(httpx.RemoteProtocolError, httpx.ReadError):  # until the connection has ended
                    client.get(f"{server.url}/rest/v1/odd?limit=1")

        restarting = threading.Thread(target=server.restart, args=[0.5])
        restarting.start()
        with pytest.raises(httpx.ConnectError):
            ask_until_refused()
        restarting.join()
        assert client.get(f"{server.url}/rest/v1/odd?limit=1").status_code == 200


def test_faults_by_limit_and_a_cap_that_changes(odd_table: str) -> None:
    with PageServer(odd_table, hook=faults.above_limit(5, faults.statement_timeout())) as server:
        assert [_get(server, f"odd?limit={n}").status_code for n in (6, 5)] == [500, 200]
        server.hook = lambda request: setattr(server, "max_rows", 3) if request.number > 3 else None
        assert [len(_get(server, "odd?limit=9").json()) for _ in range(2)] == [9, 3]


def test_seeded_faults_repeat(odd_table: str) -> None:
    def statuses(seed: int) -> list[int]:
        with PageServer(odd_table, hook=faults.seeded(seed, 0.5, [faults.status(500), faults.status(503)])) as server:
            return [_get(server, "odd?limit=1").status_code for _ in range(20)]

    first = statuses(1)
    assert set(first) == {200, 500, 503}
    assert statuses(1) == first
    assert statuses(2) != first


def test_answers_at_once_when_stopped(odd_table: str) -> None:
    threads = set(threading.enumerate())
    server = PageServer(odd_table, hook=faults.queue([faults.delivered(Delivery.NEVER)]))
    with httpx.Client(base_url=server.url, headers={"apikey": server.service_key}, timeout=10) as client:
        stopper = threading.Timer(0.2, server.stop)
        stopper.start()
        with pytest.raises(httpx.RemoteProtocolError):
            client.get("/rest/v1/odd")
        stopper.join()
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with psycopg.connect(odd_table, autocommit=True) as connection:
        deadline = time.monotonic() + 10  # a session ends a moment after its client
        while connection.execute(others).fetchone() != (0,):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert set(threading.enumerate()) <= threads


def test_a_database_that_has_gone_is_unavailable_and_comes_back(odd_table: str) -> None:
    with (
        PageServer(odd_table) as server,
        httpx.Client(base_url=server.url, headers={"apikey": server.service_key}, timeout=10) as client,
    ):
        assert client.get("/rest/v1/odd").status_code == 200
        for connection in (one for idle in server._idle.values() for one in idle):
            connection.pgconn.finish()
        gone = client.get("/rest/v1/odd")
        assert (gone.status_code, gone.json()["code"]) == (503, "PGRST001")
        assert client.get("/rest/v1/odd").status_code == 200
