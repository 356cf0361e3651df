"""Every value arrives to the letter, through the page server and through lite."""

import json

import psycopg
from psycopg import sql

from app.migration.retry import Limits
from tests.fixtures.sources import Source
from tests.migration.engine import copy_from, query, row_texts, tables, verify_from

# (column of clients, its text as PostgreSQL writes it)
HARD = [
    ("preferences", "1.10"),
    ("preferences", "12345678901234567890"),
    ("preferences", "12345678901234567890.123456789012345678901234567890"),
    ("preferences", "0.0"),
    ("preferences", "null"),
    ("preferences", None),
    ("preferences", '""'),
    ("preferences", '"null"'),
    ("preferences", '{"": [], "a": {"b": 1.50}, "кл\\"юч": "\\\\ \\n \\u0001 😀"}'),
    ("ai_context", "[" * 200 + "1.0" + "]" * 200),
    ("discount", "NaN"),
    ("total_spent", "9999999999.99"),
    ("average_bill", "-0.01"),
    ("goods_count", "-2147483648"),
    ("created_at", "infinity"),
    ("updated_at", "-infinity"),
    ("created_at", "0044-03-15 12:00:00.000001 BC"),
    ("last_sync_at", "294276-12-31 23:59:59.999999"),
    ("last_sync_at", "2026-01-02 03:04:05.1"),
    ("first_visit_date", "4713-01-01 BC"),
    ("first_visit_date", "infinity"),
    ("last_visit_date", "5874897-12-31"),
    ("last_visit_date", "10000-01-01"),
    ("tags", "{}"),
    ("tags", None),
    ("tags", '{NULL,"NULL",null2,""}'),
    ("tags", '{"a\\"b","c,d","{e}","back\\\\slash"," blank ","line\nbreak",👩‍👩‍👧}'),
    ("tags", '{{a,NULL},{"","\\""}}'),
    ("branch_ids", "{{1,2},{3,4}}"),
    ("branch_ids", "[0:1]={1,2}"),
    ("last_service_ids", "[-5:-4][3:4]={{1,NULL},{3,4}}"),
    ("preferred_time_slots", "{NULL}"),
    ("preferred_time_slots", "[2:3]={утро,вечер}"),
    ("email", ""),
    ("email", None),
    ("notes", "two trailing blanks  "),
    ("notes", "  \t\r\n"),
    ("notes", "null"),
    ("notes", '", "id": "7", {"id":"8"}], \n ['),
    ("notes", '{"id":"9",\'\\'),
    ("blacklisted", None),
    ("visit_count", None),
]


def _fill(url: str) -> dict[int, tuple[str, str | None]]:
    """One client a value."""
    written = dict(enumerate(HARD, start=1))
    with psycopg.connect(url) as connection:
        for number, (column, text) in written.items():
            connection.execute(
                sql.SQL(
                    "INSERT INTO clients (id, yclients_id, company_id, phone, {}) VALUES ({}, {}, 1, '7', {})"
                ).format(sql.Identifier(column), number, number, sql.Literal(text))
            )
    return written


async def test_hard_values(source: Source, database_url: str) -> None:
    written = _fill(source.database_url)
    await copy_from(source, database_url, tables("clients"))
    for number, (column, text) in written.items():
        arrived = query(
            database_url,
            sql.SQL("SELECT {}::text FROM clients WHERE id = {}")
            .format(sql.Identifier(column), number)
            .as_string(None),
        )
        assert arrived == [(text,)], column
    assert row_texts(database_url, "clients") == row_texts(source.database_url, "clients")
    report = await verify_from(source, database_url, tables("clients"))
    assert (report.clean, report.tables[0].equal) == (True, len(written))


async def test_json_null_is_not_null(source: Source, database_url: str) -> None:
    with psycopg.connect(source.database_url) as connection:
        connection.execute(
            "INSERT INTO clients (id, yclients_id, phone, preferences, goods_purchases) "
            "VALUES (1, 1, '7', 'null', NULL), (2, 2, '7', NULL, 'null')"
        )
    await copy_from(source, database_url, tables("clients"))
    arrived = query(
        database_url,
        "SELECT preferences IS NULL, goods_purchases IS NULL, preferences = 'null' FROM clients ORDER BY id",
    )
    assert arrived == [(False, True, True), (True, False, None)]


async def test_every_character(source: Source, database_url: str) -> None:
    """All code points but 0 and the surrogates, as text, in JSON and in an array."""
    characters = "".join(map(chr, (*range(1, 0xD800), *range(0xE000, 0x110000))))
    chunks = [characters[start : start + 65536] for start in range(0, len(characters), 65536)]
    with psycopg.connect(source.database_url) as connection:
        for number, chunk in enumerate(chunks, start=1):
            connection.execute(
                "INSERT INTO clients (id, yclients_id, phone, notes, ai_context, tags) "
                "VALUES (%s, %s, '7', %s, %s, %s)",
                [number, number, chunk, json.dumps(chunk, ensure_ascii=False), [chunk[:9000], chunk[9000:18000]]],
            )
    await copy_from(source, database_url, tables("clients"))
    arrived = query(database_url, "SELECT notes, ai_context #>> '{}', tags[2] FROM clients ORDER BY id")
    assert "".join(notes for notes, _, _ in arrived) == characters
    assert [context for _, context, _ in arrived] == chunks
    assert [tag for _, _, tag in arrived] == [chunk[9000:18000] for chunk in chunks]
    assert (await verify_from(source, database_url, tables("clients"))).clean


async def test_times_dates_and_instants(source: Source, database_url: str) -> None:
    with psycopg.connect(source.database_url) as connection:
        connection.execute(
            """
            INSERT INTO staff_schedules (staff_id, staff_name, date, work_start, work_end) VALUES
                (1, '', '2026-01-01', '00:00', '24:00:00'), (1, '', 'infinity', '23:59:59.999999', NULL);
            INSERT INTO whatsapp_keys (company_id, key_type, key_id, value, created_at, updated_at, expires_at)
                VALUES
                    ('1', 'session', '79000000001_1.0', 'null', '0044-03-15 12:00:00+00 BC', '-infinity', 'infinity'),
                    ('1', 'session', '79000000002_1.0', '1.10', '1900-01-01 00:00:00+02:30:17', NULL, '294276-01-01');
            """
        )
    await copy_from(source, database_url, tables("staff_schedules", "whatsapp_keys"))
    assert query(database_url, "SELECT work_start::text, work_end::text FROM staff_schedules ORDER BY date") == [
        ("00:00:00", "24:00:00"),
        ("23:59:59.999999", None),
    ]
    assert query(database_url, "SELECT created_at::text, expires_at::text FROM whatsapp_keys ORDER BY key_id") == [
        ("0044-03-15 12:00:00+00 BC", "infinity"),
        ("1899-12-31 21:29:43+00", "294276-01-01 00:00:00+00"),
    ]
    for table in ("staff_schedules", "whatsapp_keys"):
        assert row_texts(database_url, table) == row_texts(source.database_url, table)


async def test_a_row_heavier_than_a_page(source: Source, database_url: str) -> None:
    with psycopg.connect(source.database_url) as connection:
        connection.execute(
            "INSERT INTO clients (id, yclients_id, phone, visit_history) SELECT n, n, '7', CASE WHEN n <> 3 THEN '[]' "
            "ELSE (SELECT jsonb_agg(repeat('ж\"', 50) || i) FROM generate_series(1, 10000) i) END "
            "FROM generate_series(1, 5) n"
        )
    limits = Limits(page_bytes=100_000, wait_initial=0.01)
    await copy_from(source, database_url, tables("clients"), limits=limits)
    assert query(database_url, "SELECT length(visit_history::text) > 1000000 FROM clients WHERE id = 3") == [(True,)]
    assert row_texts(database_url, "clients") == row_texts(source.database_url, "clients")
