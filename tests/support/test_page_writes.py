"""The page server's writes against exchanges recorded from a real PostgREST."""

import json
from pathlib import Path

import httpx
import psycopg

from tests.support.page_server import PageServer

_RECORDED = json.loads((Path(__file__).parents[1] / "rest" / "exchanges.json").read_text())["exchanges"]
# It does not know defaults for missing keys, nor the schema cache's words for an unknown column.
_NOT_ITS_OWN = {"the same with missing=default", "insert, unknown column"}
_WRITES = [
    exchange
    for exchange in _RECORDED
    if exchange["request"]["method"] in {"POST", "PATCH", "DELETE"}
    and exchange["name"] not in _NOT_ITS_OWN
    and "/rpc/" not in exchange["request"]["path"]
]
_BEGINNINGS = """
INSERT INTO clients (id, yclients_id, company_id, phone, notes, visit_count) VALUES
    (101, 5000001, 962302, '1', E'tab\\there "quotes" back\\\\slash \\n nl', NULL),
    (107, 5000007, 962302, '1', NULL, 0), (104, 5000004, 962302, '1', NULL, 0), (105, 5000005, 962302, '1', NULL, 0);
SELECT setval('clients_id_seq', 1000);
"""


def test_writes_as_recorded(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(_BEGINNINGS)
    differences = []
    with PageServer(database_url) as server, httpx.Client(base_url=f"{server.url}/rest/v1") as client:
        for exchange in _WRITES:
            request, recorded = exchange["request"], exchange["response"]
            headers = {**request["headers"], "Authorization": f"Bearer {server.service_key}"}
            content = None if request["body"] is None else request["body"].encode()
            response = client.request(request["method"], request["path"], headers=headers, content=content)
            got = (response.status_code, {name: response.headers.get(name) for name in recorded["headers"]})
            body, expected_body = response.text, recorded["body"]
            if "Failing row contains" in body:  # the time it was made, and the rows before it
                body, expected_body = (text.partition("(")[0] for text in (body, expected_body))
            if (*got, body) != (recorded["status"], recorded["headers"], expected_body):
                differences.append((exchange["name"], *got, body, recorded))
    assert differences == []
    assert len(_WRITES) == 15


def test_without_a_representation(database_url: str) -> None:
    upsert = {"Prefer": "return=minimal,resolution=merge-duplicates", "Content-Type": "application/json"}
    with PageServer(database_url) as server:
        client = httpx.Client(base_url=f"{server.url}/rest/v1", headers={"apikey": server.service_key})
        with client:
            path = "/staff?columns=id,yclients_id,name,service_ids&on_conflict=id"
            row = '[{"id": "7", "yclients_id": "1", "name": "%s", "service_ids": "[2:3]={1,2}"}]'
            first = client.post(path, headers=upsert, content=row % "a")
            second = client.post(path, headers=upsert, content=row % "b")
            gone = client.delete("/staff?id=in.(7,8)", headers={"Prefer": "return=minimal"})
    assert [answer.status_code for answer in (first, second, gone)] == [201, 200, 204]
    assert first.content == second.content == gone.content == b""
    assert [seen.rows for seen in server.exchanges] == [1, 1, 1]
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM staff").fetchone() == (0,)
