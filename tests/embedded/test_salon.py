"""The made-up salon: sizes, the same rows for the same arguments, and the values that a move easily loses."""

import json
import math
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import phonenumbers
import psycopg
import pytest

from app.embedded.salon import COMPANY_ID, TIMEZONE, fill_salon
from app.embedded.salon.hard_values import READABLE, UNREADABLE
from app.models import Base, Client
from app.stores.codec.text_values import register_loaders
from tests.fixtures.servers import migrated_template
from tests.support.postgres import PostgresServer

_TODAY = date(2026, 3, 2)
_SMALL: dict[str, Any] = {"clients": 120, "baileys_keys": 50, "today": _TODAY}
_PRODUCTION = {
    "companies": 1,
    "clients": 1304,
    "services": 63,
    "staff": 12,
    "staff_schedules": 44,
    "bookings": 45,
    "dialog_contexts": 21,
    "whatsapp_auth": 1,
    "whatsapp_keys": 1127,
}


def _rows(database_url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute(query.encode()).fetchall()


def _text(database_url: str, client: int, column: str) -> str | None:
    """A value of a client, counted from 1, as PostgreSQL's text."""
    [(value,)] = _rows(database_url, f"SELECT {column}::text FROM clients ORDER BY id OFFSET {client - 1} LIMIT 1")
    return value


def _digests(database_url: str) -> dict[str, str]:
    return {
        table: _rows(database_url, f'SELECT md5(string_agg(t::text, chr(10) ORDER BY t::text)) FROM "{table}" t')[0][0]
        for table in Base.metadata.tables
    }


def test_has_the_sizes_of_production(database_url: str) -> None:
    assert fill_salon(database_url) == _PRODUCTION
    counted = {t: _rows(database_url, f'SELECT count(*) FROM "{t}"')[0][0] for t in Base.metadata.tables}
    assert counted == {**dict.fromkeys(counted, 0), **_PRODUCTION}
    columns = ", ".join(f"{column.name}::text" for column in Client.__table__.columns)
    [(size,)] = _rows(
        database_url, f"SELECT avg(octet_length(row_to_json(t)::text)) FROM (SELECT {columns} FROM clients) t"
    )
    assert 1450 < size < 1750


def test_same_arguments_give_the_same_rows(databases: PostgresServer) -> None:
    found = []
    for changed in ({}, {}, {"seed": 1}, {"clients": 121}):
        url = databases.create_database(template=migrated_template(databases))
        fill_salon(url, **{**_SMALL, **changed})
        found.append(_digests(url))
        databases.drop_database(url)
    assert found[1] == found[0]
    assert {table for table in found[0] if found[2][table] != found[0][table]} == {
        *_PRODUCTION.keys() - {"companies", "staff_schedules"}
    }
    assert {table for table in found[0] if found[3][table] != found[0][table]} == {"clients"}


def test_several_salons_are_apart(database_url: str) -> None:
    fill_salon(database_url, companies=2, **_SMALL)
    companies = _rows(database_url, "SELECT company_id, timezone FROM companies ORDER BY id")
    assert companies == [(COMPANY_ID, TIMEZONE), (COMPANY_ID + 1, TIMEZONE)]
    shared = "SELECT phone, count(*), count(DISTINCT company_id) FROM clients GROUP BY phone HAVING count(*) > 1"
    assert _rows(database_url, shared) == [("79000000100", 2, 1), ("79010000100", 2, 1)]
    schedules = "SELECT count(*), count(DISTINCT staff_id) FROM staff_schedules JOIN staff ON staff_id = yclients_id"
    assert _rows(database_url, schedules) == [(88, 24)]


def test_phones_are_valid_in_form(database_url: str) -> None:
    fill_salon(database_url, **_SMALL)
    for (phone,) in _rows(database_url, "SELECT phone FROM clients UNION SELECT user_id FROM dialog_contexts"):
        assert phonenumbers.is_valid_number(phonenumbers.parse(f"+{phone}")), phone


def test_lies_around_its_day(database_url: str) -> None:
    fill_salon(database_url, **_SMALL)
    [days] = _rows(
        database_url, "SELECT min(date), max(date), min(work_start)::text, max(work_end)::text FROM staff_schedules"
    )
    assert days == (_TODAY - timedelta(days=1), _TODAY + timedelta(days=2), "10:00:00", "24:00:00")
    [(past, future, statuses)] = _rows(
        database_url,
        f"SELECT count(*) FILTER (WHERE date < '{_TODAY}'), count(*) FILTER (WHERE date > '{_TODAY}'),"
        " array_agg(DISTINCT status ORDER BY status) FROM bookings WHERE date = datetime::date",
    )
    assert (past > 20, future > 10, past + future > 40) == (True, True, True)
    assert statuses == ["attended", "cancelled", "confirmed", "deleted", "pending", None]
    [(known,)] = _rows(
        database_url,
        "SELECT count(*) FROM bookings b JOIN clients c ON c.yclients_id = b.client_yclients_id"
        " AND c.phone = b.client_phone JOIN staff s ON s.yclients_id = b.staff_id",
    )
    assert known == 45


def test_totals_agree_with_the_visits(database_url: str) -> None:
    fill_salon(database_url, **_SMALL)
    rows = _rows(
        database_url,
        "SELECT visit_count, total_spent, first_visit_date, last_visit_date, visit_history::text FROM clients"
        " ORDER BY id OFFSET 20",
    )
    for count, spent, first, last, history in rows:
        visits = json.loads(history, parse_float=Decimal)
        assert (count, spent) == (len(visits), sum((visit["cost"] for visit in visits), Decimal("0.00")))
        days = [visit["date"] for visit in visits] or [None]
        assert (str(first), str(last)) == (str(days[0]), str(days[-1]))
    assert {count for count, *_ in rows} >= {0, 1, 2, 3}


def test_keeps_values_that_a_move_loses(database_url: str) -> None:
    fill_salon(database_url, **_SMALL)
    history = _text(database_url, 11, "visit_history") or ""
    assert history.startswith("[1.10, 12345678901234567890, 0.0000000001, 1000")
    assert _text(database_url, 11, "notes") == 'tab\there "quotes" back\\slash \r\n nl'
    assert [_text(database_url, n, "preferences") for n in (12, 13)] == ["null", None]
    assert [_text(database_url, n, "ai_context") for n in (12, 13)] == [None, "null"]
    assert _text(database_url, 14, "goods_purchases") == "12345678901234567890.1234567890"
    assert [_text(database_url, 15, name) for name in ("discount", "total_spent", "goods_amount")] == [
        "NaN",
        "9999999999.99",
        "-0.01",
    ]
    arrays = {
        "tags": '{"a\\"b","c,d","{e}",NULL,"","NULL",NULL,"обр\\\\слэш","новый\nстрока"," пробел ",👩‍👩‍👧}',
        "branch_ids": "{{1,2},{3,4}}",
        "last_service_ids": "[0:1]={1,2}",
        "favorite_staff_ids": "{NULL,-1,NULL}",
        "preferred_time_slots": "[-1:0]={утро,NULL}",
    }
    assert {name: _text(database_url, 16, name) for name in arrays} == arrays
    assert [_text(database_url, n, "notes") for n in (18, 19)] == ["", None]
    assert [_text(database_url, 20, name) for name in ("first_visit_date", "last_ai_interaction")] == [
        "0001-01-01",
        "9999-12-31 23:59:59.999999",
    ]
    [(raw,)] = _rows(database_url, "SELECT raw_data::text FROM companies")
    assert '"big": 12345678901234567890' in raw
    assert '"price": 1.10' in raw


def test_python_can_read_every_row_unless_asked_otherwise(database_url: str) -> None:
    fill_salon(database_url, **_SMALL)
    ratings = [row[0] for row in _rows(database_url, "SELECT ai_satisfaction_score FROM clients ORDER BY id")]
    assert math.isnan(ratings[14])
    with psycopg.connect(database_url) as connection:
        register_loaders(connection.adapters)
        for table, size in {**_PRODUCTION, "clients": 120, "whatsapp_keys": 50}.items():
            assert len(connection.execute(f'SELECT * FROM "{table}"'.encode()).fetchall()) == size


def test_hard_values_are_rows_of_their_own(database_url: str) -> None:
    written = fill_salon(database_url, hard_values=True, **_SMALL)
    assert written["clients"] == 120 + len(UNREADABLE) + 1
    assert written["whatsapp_keys"] == 51
    assert len(READABLE) == 10
    dates = [
        [_text(database_url, n, name) for name in ("first_visit_date", "last_visit_date")] for n in (122, 123, 124)
    ]
    assert [dates[0][0], dates[1][0], dates[2]] == ["-infinity", "0044-03-15 BC", ["4713-01-01 BC", "5874897-12-31"]]
    assert _text(database_url, 121, "created_at") == "infinity"
    assert _text(database_url, 128, "branch_ids") == "[-5:-4][3:4]={{1,NULL},{3,4}}"
    notes = _text(database_url, 130, "notes") or ""
    assert len(set(notes)) == len(notes) == 0x110000 - 0x800 - 1
    with pytest.raises(psycopg.DataError):
        _rows(database_url, "SELECT created_at FROM clients")


def test_refuses_bookings_that_nobody_can_make(database_url: str) -> None:
    with pytest.raises(ValueError, match="bookings need staff"):
        fill_salon(database_url, staff=0)
    assert _rows(database_url, "SELECT count(*) FROM companies") == [(0,)]
