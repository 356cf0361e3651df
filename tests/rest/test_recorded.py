"""What a real PostgREST answered, read by our client: each error as its kind, each value to the digit."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from sqlalchemy import ARRAY, JSON, Column

from app import models
from app.errors import (
    AccessDeniedError,
    ConflictError,
    OutcomeUnknownError,
    RejectedError,
    SchemaMismatchError,
    StoreError,
    StoreTimeoutError,
    UnavailableError,
    UnrepresentableValueError,
)
from app.stores.codec.rows import ClientRow, table_of
from app.stores.outgoing_write import OutgoingWrite
from app.stores.supabase.backend import SupabaseBackend
from app.stores.supabase.grammar import alias
from app.stores.supabase.table import SupabaseTable
from tests.rest.recorded import EXCHANGES, Recorded, recorded_server


@pytest.fixture
async def recorded() -> AsyncIterator[Recorded]:
    async with recorded_server() as server:
        yield server


ERRORS: list[tuple[str, type[StoreError], str]] = [
    ("offset past the end with exact count", UnavailableError, "PGRST103"),
    ("upsert two of different shape, no columns", RejectedError, "PGRST102"),
    ("upsert, same key twice", StoreError, "21000"),
    ("upsert, no unique key for on_conflict", SchemaMismatchError, "42P10"),
    ("insert, duplicate key", ConflictError, "23505"),
    ("insert, missing NOT NULL", RejectedError, "23502"),
    ("insert, wrong type", RejectedError, "22P02"),
    ("insert, value too long", RejectedError, "22001"),
    ("insert, unknown column", SchemaMismatchError, "PGRST204"),
    ("insert, zero character in text", RejectedError, "22P05"),
    ("insert, malformed JSON", RejectedError, "PGRST102"),
    ("unknown column in a filter", SchemaMismatchError, "42703"),
    ("unknown table", SchemaMismatchError, "PGRST205"),
    ("misspelled table", SchemaMismatchError, "PGRST205"),
    ("bad integer in a filter", RejectedError, "22P02"),
    ("anon role: refused table", AccessDeniedError, "42501"),
    ("bad key", AccessDeniedError, "PGRST301"),
    ("statement timeout", StoreTimeoutError, "57014"),
]


@pytest.mark.parametrize(("name", "kind", "sqlstate"), ERRORS)
@pytest.mark.parametrize("writing", [False, True])
async def test_an_error_is_told_by_its_code(
    recorded: Recorded, name: str, kind: type[StoreError], sqlstate: str, writing: bool
) -> None:
    recorded.answer(name)
    with pytest.raises(StoreError) as raised:
        await recorded.rest.respond(recorded.rest.table("clients").select("id"), writing=writing)
    assert type(raised.value) is kind
    assert raised.value.sqlstate == sqlstate
    # The server's own words hold rows, and are not repeated.
    for words in ("Failing row", "6000009", "5000004", "abc"):
        assert words not in str(raised.value)


def test_every_recorded_error_has_a_test() -> None:
    single = {"single, no row", "single, two rows"}  # we never ask for a single object
    failed = {name for name, exchange in EXCHANGES.items() if exchange["response"]["status"] >= 400}
    assert failed - single == {name for name, _, _ in ERRORS}


async def test_a_code_that_is_none_is_not_repeated(recorded: Recorded) -> None:
    for code in ("\x1b[2J", "sb_secret_a0key0of0the0project", "", "a b", "42703\n", 5, None):
        recorded.answer_with(400, json.dumps({"code": code, "message": "x"}))
        with pytest.raises(RejectedError) as raised:
            await recorded.rest.respond(recorded.rest.table("clients").select("id"))
        assert str(raised.value) == "Supabase refuses the request [HTTP 400]"
        assert raised.value.sqlstate is None


@pytest.mark.parametrize(
    ("status", "body", "reading", "writing"),
    [
        (503, '{"code":"PGRST002","message":"schema cache"}', *[UnavailableError] * 2),
        (503, '{"code":"PGRST001","message":"no connection"}', UnavailableError, OutcomeUnknownError),
        (504, '{"code":"PGRST003","message":"timed out acquiring connection"}', *[UnavailableError] * 2),
        (500, '{"code":"57P01","message":"terminating connection"}', UnavailableError, OutcomeUnknownError),
        (502, "<html>Bad Gateway</html>", UnavailableError, OutcomeUnknownError),
        (520, "", UnavailableError, OutcomeUnknownError),
        (429, "slow down", *[UnavailableError] * 2),
        (401, '{"message":"Invalid API key"}', *[AccessDeniedError] * 2),
        (403, "", *[AccessDeniedError] * 2),
        (404, "not here", *[SchemaMismatchError] * 2),
        (302, "", *[StoreError] * 2),
        (418, "[]", *[StoreError] * 2),
    ],
)  # fmt: skip
async def test_an_answer_of_a_gateway(
    recorded: Recorded, status: int, body: str, reading: type[StoreError], writing: type[StoreError]
) -> None:
    recorded.answer_with(status, body, **{"retry-after": "7"})
    for is_writing, kind in ((False, reading), (True, writing)):
        with pytest.raises(StoreError) as raised:
            await recorded.rest.respond(recorded.rest.table("clients").select("id"), writing=is_writing)
        assert type(raised.value) is kind
    if status == 429:
        assert isinstance(raised.value, UnavailableError)
        assert raised.value.retry_after == 7


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("<html>login</html>", UnavailableError),
        ("", UnavailableError),
        ("{}", StoreError),
        ("5", StoreError),
        ('["x"]', StoreError),
        ('[{"id": "1"}]', StoreError),
    ],
)
async def test_a_success_that_is_no_list_of_our_columns(recorded: Recorded, body: str, kind: type[StoreError]) -> None:
    recorded.answer_with(200, body)
    backend = SupabaseBackend(recorded.rest, default_timezone="UTC")
    with pytest.raises(kind):
        await backend.get_company(1)
    with pytest.raises(OutcomeUnknownError):
        await backend.upsert(models.Company, [{"company_id": 1, "title": "x"}], OutgoingWrite())


def as_recorded(name: str) -> list[dict[str, Any]]:
    """The rows of a recorded page as `::text` would have given them."""
    rows = json.loads(EXCHANGES[name]["response"]["body"], parse_float=str, parse_int=str)
    return [dict(row) for row in rows]


def as_text(value: Any, column: Column[Any]) -> str | None:
    """A recorded value as PostgREST gives it with `::text`."""
    if value is None or (isinstance(value, str) and not isinstance(column.type, JSON)):
        return value
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("[", "{").replace("]", "}") if isinstance(column.type, ARRAY) else text


async def test_values_of_a_recorded_page(recorded: Recorded) -> None:
    table = SupabaseTable(recorded.rest, models.Client, ClientRow)
    source = as_recorded("page of every type")[0]
    columns = table_of(models.Client).c
    recorded.answer_with(200, json.dumps([{alias(n): as_text(source[c.name], c) for n, c in enumerate(columns)}]))
    row = await table.one(lambda builder: builder, "several")
    assert row is not None
    assert (row.id, row.name, row.phone) == (1, "Евгения Иванов 1", "79000000001")
    assert (row.discount, str(row.total_spent), row.branch_ids) == (Decimal("1.50"), "21.87", [])
    assert row.created_at == datetime(2026, 1, 1, 10, 0, 0, 500000)
    assert row.updated_at == datetime(2026, 1, 1, 10, 0, 0, 123456)
    assert (row.first_visit_date, row.visit_count) == (date(2024, 1, 2), 1)


class Stamp(NamedTuple):
    id: int
    updated_at: datetime


async def test_infinity_of_a_recorded_company(recorded: Recorded) -> None:
    company = as_recorded("companies: infinity, nested jsonb")[0]
    assert company["updated_at"] == "infinity"
    table = SupabaseTable(recorded.rest, models.Company, Stamp, Stamp._fields)
    recorded.answer_with(200, json.dumps([{alias(0): company["id"], alias(1): company["updated_at"]}]))
    with pytest.raises(UnrepresentableValueError, match="companies row 1: column updated_at"):
        await table.one(lambda builder: builder, "several")


async def test_the_key_goes_out_and_no_further(recorded: Recorded) -> None:
    recorded.answer("empty page")
    assert await recorded.rest.rows(recorded.rest.table("clients").select("id")) == []
    assert b"authorization: bearer sb_secret_planted" in recorded.requests[0].lower()
    recorded.answer("bad key")
    with pytest.raises(AccessDeniedError) as raised:
        await recorded.rest.rows(recorded.rest.table("clients").select("id"))
    assert "planted" not in str(raised.value) + repr(raised.value)


async def test_the_body_of_an_upsert_is_sent_as_it_is(recorded: Recorded) -> None:
    recorded.answer_with(200, "[]")
    backend = SupabaseBackend(recorded.rest, default_timezone="UTC")
    row = {"company_id": 1, "title": "é", "coordinate_lat": Decimal("1.1000000"), "raw_data": {"n": 1.5}}
    with pytest.raises(OutcomeUnknownError):
        await backend.upsert(models.Company, [row], OutgoingWrite())
    head, _, body = recorded.requests[0].partition(b"\r\n\r\n")
    assert body.decode() == '[{"company_id":1,"title":"é","coordinate_lat":"1.1000000","raw_data":{"n":1.5}}]'
    assert b"on_conflict=company_id" in head
    assert b"resolution=merge-duplicates" in head
    assert b"return=representation" in head
