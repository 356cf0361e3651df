"""Answers that are not what was asked for: mixed up, of another length, or not PostgREST's at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
from postgrest import ReturnMethod

from app.errors import OutcomeUnknownError, UnavailableError
from app.stores.supabase.answers import rows_told
from tests.rest.recorded import Recorded, recorded_server

HTML = "<!DOCTYPE html><html><body>Just a moment...</body></html>"


@pytest.fixture
async def recorded() -> AsyncIterator[Recorded]:
    async with recorded_server() as server:
        yield server


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        *((text, None) for text in ("soon", "-1", "1e3", "Wed, 21 Oct 2015 07:28:00", "Mon, 99 Foo 9999 99:99:99 GMT")),
        ("Wed, 21 Oct 2015 07:28:00 +99999999999999", None),
        ("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", None),
    ],
)
async def test_when_to_come_back(recorded: Recorded, header: str, seconds: float | None) -> None:
    recorded.answer_with(429, "", **{"retry-after": header})
    with pytest.raises(UnavailableError) as raised:
        await recorded.rest.respond(recorded.rest.table("clients").select("id"))
    assert raised.value.retry_after == seconds


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("0-24/*", 25), ("5-9/10", 5), ("*/*", 0), ("*/0", 0), ("*/12", 0), ("9-0/*", -8),
        ("", None), ("0-/9", None), ("items 0-1/2", None), ("٠-٩/*", None),
    ],
)  # fmt: skip
def test_how_many_rows_an_answer_should_hold(text: str, rows: int | None) -> None:
    assert rows_told({"Content-Range": text}) == rows


async def test_an_answer_of_another_length_than_it_says(recorded: Recorded) -> None:
    recorded.answer_with(200, '[{"id":1}]', **{"content-range": "0-1/*"})
    with pytest.raises(UnavailableError, match="as many rows as it says"):
        await recorded.rest.rows(recorded.rest.table("clients").select("id"))
    recorded.answer_with(200, '[{"id":1}]', **{"content-range": "0-0/*"})
    assert await recorded.rest.rows(recorded.rest.table("clients").select("id")) == [{"id": 1}]


def _question(recorded: Recorded) -> Any:
    return recorded.rest.table("clients").select("id").eq("name", "Анна + 1").gt("id", 1).lt("id", 9)


# As PostgREST repeats the question: sorted, the values of a name joined, what is not ASCII encoded twice.
_TWICE = quote("eq.Анна + 1".encode().decode("latin-1"), safe="")


@pytest.mark.parametrize(
    ("location", "right"),
    [
        (None, True),
        (f"/clients?id=gt.1%2Clt.9&name={_TWICE}&select=id", True),
        (f"/clients?id=gt.1%2Clt.9&name={quote('eq.Анна + 1')}&select=id", True),
        (f"/rest/v1/clients?id=gt.1,lt.9&name={_TWICE}&select=id", True),
        (f"/services?id=gt.1%2Clt.9&name={_TWICE}&select=id", False),
        (f"/clients?id=gt.0%2Clt.9&name={_TWICE}&select=id", False),
        (f"/clients?id=gt.1%2Clt.9&name={_TWICE}&select=id%2Cname", False),
        (f"/clients?name={_TWICE}&select=id", False),
        ("/clients", False),
        ("//[?%ff&&=", False),
    ],
)
async def test_an_answer_to_another_request(recorded: Recorded, location: str | None, right: bool) -> None:
    recorded.answer_with(200, "[]", **({} if location is None else {"content-location": location}))
    for ask in (recorded.rest.respond, recorded.rest.rows, lambda builder: recorded.rest.read_at_most(builder, 100)):
        if right:
            await ask(_question(recorded))
        else:
            with pytest.raises(UnavailableError, match="another request"):
                await ask(_question(recorded))


@pytest.mark.parametrize(
    ("body", "returning", "right"),
    [
        ("", ReturnMethod.minimal, True),
        ('[{"id":1}]', ReturnMethod.representation, True),
        (HTML, ReturnMethod.minimal, False),
        (HTML, ReturnMethod.representation, False),
        ("", ReturnMethod.representation, False),
        ("\x00\x01", ReturnMethod.minimal, False),
    ],
)
async def test_a_write_is_done_only_where_postgrest_says_so(
    recorded: Recorded, body: str, returning: ReturnMethod, right: bool
) -> None:
    recorded.answer_with(200, body)
    table = recorded.rest.table("clients")
    for builder in (
        table.upsert({"id": 1}, returning=returning),
        table.delete(returning=returning).eq("id", 1),
        table.update({"id": 1}, returning=returning).eq("id", 1),
    ):
        if right:
            await recorded.rest.respond(builder, writing=True)
        else:
            with pytest.raises(OutcomeUnknownError, match="not PostgREST's"):
                await recorded.rest.respond(builder, writing=True)


@pytest.mark.parametrize("name", ["t 100%", "what?", "a#b"])
async def test_a_table_in_whose_name_an_address_would_end(recorded: Recorded, name: str) -> None:
    # PostgREST repeats the name as it is.
    recorded.answer_with(200, "[]", **{"content-location": f"/{name}?select=id"})
    assert await recorded.rest.rows(recorded.rest.table(name).select("id")) == []
