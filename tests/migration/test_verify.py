"""Verify finds every planted difference by table, key and column, and finds none where there is none."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from psycopg import sql

from app.errors import MigrationError
from app.migration.runs.report import FoundDifference
from app.migration.verify import verifier
from tests.fixtures.sources import Source
from tests.migration.engine import add_clients, copy_from, execute, hiding, row_texts, tables, value, verify_from
from tests.support.faults import Answer, Fault, Request
from tests.support.page_server import PageServer

# (table, column, what the source holds, what is planted in the target)
PLANTED = [
    ("clients", "total_spent", "1234567890.10", "1234567890.11"),
    ("clients", "preferences", '{"price": 1.10}', '{"price": 1.1}'),
    ("clients", "preferences", "12345678901234567890", "12345678901234567000"),
    ("clients", "preferences", "null", None),
    ("clients", "preferences", None, "null"),
    ("clients", "email", "", None),
    ("clients", "email", None, ""),
    ("clients", "tags", "{}", None),
    ("clients", "tags", "{NULL}", "{}"),
    ("clients", "tags", "{a,b}", "{b,a}"),
    ("clients", "tags", '{"NULL"}', "{NULL}"),
    ("clients", "branch_ids", "[0:1]={1,2}", "{1,2}"),
    ("clients", "branch_ids", "{{1},{2}}", "{1,2}"),
    ("clients", "notes", "blank ", "blank"),
    ("clients", "notes", "line\n", "line\r\n"),
    ("clients", "name", "Фёдор", "Федор"),
    ("clients", "name", "é", "e\u0301"),
    ("clients", "blacklisted", "false", "true"),
    ("clients", "blacklisted", "false", None),
    ("clients", "last_sync_at", "2026-01-02 03:04:05.000001", "2026-01-02 03:04:05"),
    ("clients", "created_at", "infinity", "-infinity"),
    ("clients", "first_visit_date", "2026-01-02", "2026-01-03"),
    ("clients", "first_visit_date", "0044-03-15 BC", "0044-03-15"),
    ("clients", "discount", "NaN", "0.00"),
    ("clients", "visit_count", "1", "2"),
    ("staff_schedules", "work_end", "24:00:00", "00:00:00"),
    ("whatsapp_keys", "expires_at", "2026-01-02 03:04:05.000001+00", "2026-01-02 03:04:05+00"),
    ("whatsapp_keys", "value", '{"a": 1.0}', '{"a": 1}'),
]
ROWS = {
    "clients": "INSERT INTO clients (id, yclients_id, phone) SELECT n, n, '7' FROM generate_series(1, 5) n",
    "staff_schedules": "INSERT INTO staff_schedules (id, staff_id, staff_name, date) "
    "SELECT n, n, '', '2026-01-01' FROM generate_series(1, 5) n",
    "whatsapp_keys": "INSERT INTO whatsapp_keys (company_id, key_type, key_id, value) "
    "SELECT '1', 'session', n::text, '{}' FROM generate_series(1, 5) n",
}
KEYS = {"clients": "id", "staff_schedules": "id", "whatsapp_keys": "key_id"}


def _set(url: str, table: str, column: str, text: str | None) -> None:
    """Set a column of the third row, past any trigger."""
    statement = "ALTER TABLE {0} DISABLE TRIGGER USER; UPDATE {0} SET {1} = {2} WHERE {3}::text = '3'"
    with psycopg.connect(url) as connection:
        connection.execute(
            sql.SQL(statement).format(
                sql.Identifier(table), sql.Identifier(column), sql.Literal(text), sql.Identifier(KEYS[table])
            )
        )


def _shape(difference: FoundDifference) -> tuple[Any, ...]:
    return difference.kind, difference.table, difference.key, difference.column, difference.source, difference.target


@pytest.mark.parametrize("table", list(ROWS))
async def test_each_planted_difference_is_found(source: Source, database_url: str, table: str) -> None:
    source_database = source.database_url
    execute(source_database, ROWS[table])
    await copy_from(source, database_url, tables(table))
    key = ("1", "session", "3") if table == "whatsapp_keys" else ("3",)
    for _, column, theirs, ours in [planted for planted in PLANTED if planted[0] == table]:
        before = value(database_url, f'SELECT "{column}"::text FROM {table} WHERE {KEYS[table]}::text = %s', ["3"])
        _set(source_database, table, column, theirs)
        _set(database_url, table, column, ours)
        found = [
            _shape(difference) for difference in (await verify_from(source, database_url, tables(table))).differences
        ]
        assert found == [("different", table, key, column, theirs, ours)]
        _set(database_url, table, column, theirs)
        assert (await verify_from(source, database_url, tables(table))).clean, column
        _set(source_database, table, column, before)
        _set(database_url, table, column, before)


async def test_another_uuid_is_a_missing_and_an_extra_row(source: Source, database_url: str) -> None:
    execute(
        source.database_url,
        "INSERT INTO dialog_contexts (id, user_id) SELECT md5(n::text)::uuid, n FROM generate_series(1, 3) n",
    )
    await copy_from(source, database_url, tables("dialog_contexts"))
    other = "00000000-0000-4000-8000-000000000000"
    execute(database_url, "UPDATE dialog_contexts SET id = %s WHERE user_id = '2'", [other])
    report = await verify_from(source, database_url, tables("dialog_contexts"))
    key = value(source.database_url, "SELECT id::text FROM dialog_contexts WHERE user_id = '2'")
    assert {_shape(difference)[:3] for difference in report.differences} == {
        ("missing", "dialog_contexts", (key,)),
        ("extra", "dialog_contexts", (other,)),
    }


async def test_missing_extra_and_several_columns(source: Source, database_url: str) -> None:
    add_clients(source.database_url, 20)
    await copy_from(source, database_url, tables("clients"))
    execute(
        database_url, "DELETE FROM clients WHERE id IN (4, 20); UPDATE clients SET name = 'x', email = 'y' WHERE id = 7"
    )
    add_clients(database_url, 2, first=100)
    report = await verify_from(source, database_url, tables("clients"))
    (clients,) = report.tables
    assert {_shape(difference) for difference in clients.differences} == {
        ("missing", "clients", ("4",), None, None, None),
        ("different", "clients", ("7",), "name", "name7", "x"),
        ("different", "clients", ("7",), "email", None, "y"),
        ("missing", "clients", ("20",), None, None, None),
        ("extra", "clients", ("100",), None, None, None),
        ("extra", "clients", ("101",), None, None, None),
    }
    assert (clients.missing, clients.different, clients.extra) == (2, 1, 2)
    assert (clients.source_rows, clients.target_rows, clients.equal) == (20, 20, 17)
    assert not report.clean


async def test_an_extra_and_a_missing_row_by_themselves(source: Source, database_url: str) -> None:
    add_clients(source.database_url, 5)
    await copy_from(source, database_url, tables("clients"))
    execute(database_url, "DELETE FROM clients WHERE id = 5")
    report = await verify_from(source, database_url, tables("clients"))
    assert [_shape(difference)[:3] for difference in report.differences] == [("missing", "clients", ("5",))]
    assert not report.clean
    await copy_from(source, database_url, tables("clients"))
    add_clients(database_url, 1, first=6)
    report = await verify_from(source, database_url, tables("clients"))
    assert [_shape(difference)[:3] for difference in report.differences] == [("extra", "clients", ("6",))]
    assert not report.clean


async def test_empty_tables_are_clean(source: Source, database_url: str) -> None:
    report = await verify_from(source, database_url, tables("clients", "whatsapp_keys"))
    assert report.clean
    assert [(table.source_rows, table.target_rows, table.equal) for table in report.tables] == [(0, 0, 0)] * 2
    add_clients(database_url, 1)
    assert not (await verify_from(source, database_url, tables("clients"))).clean


@pytest.mark.parametrize("kind", ["page server", "connection"])
async def test_a_table_missing_at_the_source_stops_it(
    pages: PageServer, source_database: str, database_url: str, kind: str
) -> None:
    execute(source_database, "ALTER TABLE staff RENAME TO people")
    served = pages if kind == "page server" else Source(source_database, "", source_database, is_lite=False)
    with pytest.raises(MigrationError) as stopped:
        await verify_from(served, database_url, tables("services", "staff", "whatsapp_auth"))
    error = stopped.value
    assert (error.step, error.table) == ("verify", "staff")
    assert error.done == "services compared"
    assert error.pending == "the rest of staff, whatsapp_auth"
    assert error.next_step is not None
    assert str(error.next_step).endswith("then: botdata verify")


async def test_a_rounded_numeric_is_a_difference(pages: PageServer, source_database: str, database_url: str) -> None:
    """The source's column holds more digits than the target's, which another program has loaded, rounded."""
    execute(source_database, "ALTER TABLE clients ALTER total_spent TYPE numeric")
    add_clients(source_database, 3)
    execute(source_database, "UPDATE clients SET total_spent = 1.00")
    assert (await copy_from(pages, database_url, tables("clients"))).complete
    for url in (source_database, database_url):
        execute(url, "UPDATE clients SET total_spent = 1.005 WHERE id = 2")
    (difference,) = (await verify_from(pages, database_url, tables("clients"))).differences
    assert _shape(difference) == ("different", "clients", ("2",), "total_spent", "1.005", "1.01")


async def test_an_instant_written_in_another_time_zone_is_equal(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    execute(source_database, ROWS["whatsapp_keys"])
    execute(source_database, "UPDATE whatsapp_keys SET expires_at = '1900-01-01 00:00:00+00' WHERE key_id = '2'")
    name = value(source_database, "SELECT current_database()")
    execute(source_database, f"ALTER DATABASE \"{name}\" SET timezone = 'Asia/Kolkata'")
    report = await copy_from(pages, database_url, tables("whatsapp_keys"))
    assert report.tables[0].inserted == 5
    assert row_texts(database_url, "whatsapp_keys") == row_texts(source_database, "whatsapp_keys")
    assert (await verify_from(pages, database_url, tables("whatsapp_keys"))).clean
    again = await copy_from(pages, database_url, tables("whatsapp_keys"))
    assert (again.tables[0].unchanged, again.tables[0].updated) == (5, 0)


@pytest.mark.separate_server
async def test_a_role_that_may_only_read_is_enough(pages: PageServer, source_database: str, database_url: str) -> None:
    add_clients(source_database, 3)
    await copy_from(pages, database_url, tables("clients"))
    name = value(database_url, "SELECT current_database()")
    execute(database_url, f'REVOKE TEMPORARY ON DATABASE "{name}" FROM PUBLIC')
    role = f"reader_{name}"
    execute(database_url, f"CREATE ROLE {role} LOGIN PASSWORD 'read'; GRANT SELECT ON clients TO {role}")
    try:
        options = psycopg.conninfo.conninfo_to_dict(database_url)
        query = f"host={options['host']}&port={options.get('port', 5432)}"
        report = await verify_from(pages, f"postgresql://{role}:read@/{name}?{query}", tables("clients"))
        assert report.clean
    finally:
        execute(database_url, f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_values_and_keys_that_the_target_cannot_hold(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 9)
    await copy_from(pages, database_url, tables("clients"))
    execute(
        source_database,
        "ALTER TABLE clients ALTER id TYPE bigint, ALTER last_sync_at TYPE text, ALTER discount TYPE text",
    )
    execute(
        source_database,
        "UPDATE clients SET id = 3000000000 WHERE id = 9; UPDATE clients SET discount = 'a lot' WHERE id = 4; "
        "UPDATE clients SET last_sync_at = 'never' WHERE id = 6",
    )
    found = (await verify_from(pages, database_url, tables("clients"))).differences
    assert [_shape(difference) for difference in found] == [
        ("different", "clients", ("4",), "discount", "a lot", None),
        ("different", "clients", ("6",), "last_sync_at", "never", None),
        ("missing", "clients", ("3000000000",), None, None, None),
        ("extra", "clients", ("9",), None, None, None),
    ]


async def test_a_row_that_the_pages_leave_out_is_not_taken_for_verified(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 5)
    await copy_from(pages, database_url, tables("clients"))
    pages.hook = hiding("3", also_by_key=True)
    with pytest.raises(MigrationError, match="1 rows were not compared") as stopped:
        await verify_from(pages, database_url, tables("clients", "staff"))
    error = stopped.value
    assert (error.step, error.table, error.done) == ("verify", "clients", "nothing compared yet")
    assert (error.pending, str(error.next_step)) == ("the rest of clients, staff", "botdata verify")
    execute(database_url, "DELETE FROM clients WHERE id = 3")
    (difference,) = (await verify_from(pages, database_url, tables("clients"))).differences
    assert _shape(difference)[:3] == ("missing", "clients", ("3",))


async def test_rows_that_the_pages_leave_out_are_compared_by_key(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 9)
    await copy_from(pages, database_url, tables("clients"))
    pages.hook = hiding("3", "4")
    assert (await verify_from(pages, database_url, tables("clients"))).clean
    execute(database_url, "UPDATE clients SET name = 'x' WHERE id IN (3, 4)")
    report = await verify_from(pages, database_url, tables("clients"))
    assert [_shape(difference)[:4] for difference in report.differences] == [
        ("different", "clients", ("3",), "name"),
        ("different", "clients", ("4",), "name"),
    ]
    assert (report.tables[0].source_rows, report.tables[0].equal) == (9, 7)


async def test_a_row_given_twice_in_place_of_another_does_not_hide_that(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    """The counts of both sides, and of what was compared, agree."""
    add_clients(source_database, 9)
    await copy_from(pages, database_url, tables("clients"))
    execute(database_url, "UPDATE clients SET name = 'x' WHERE id IN (3, 5)")

    def twice(answer: Answer) -> Answer:
        rows = answer.body[1:-1].split(b", \n ")
        return replace(answer, body=b"[" + b", \n ".join([*rows[:2], rows[1], *rows[3:]]) + b"]")

    def hook(request: Request) -> Fault | None:
        whole = "_1:" in (request.parameter("select") or "")
        return twice if whole and request.parameter("id") is None else None

    pages.hook = hook
    report = await verify_from(pages, database_url, tables("clients"))
    assert {_shape(difference)[2:4] for difference in report.differences} == {(("3",), "name"), (("5",), "name")}
    assert not report.clean


async def test_what_differs_in_several_tables_waits_to_be_read_again_once(
    source: Source, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for statement in ROWS.values():
        execute(source.database_url, statement)
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.sleep(seconds)

    monkeypatch.setattr(verifier, "asyncio", SimpleNamespace(sleep=sleep))
    report = await verify_from(source, database_url, tables(*ROWS), options=verifier.VerifyOptions(pause=0.2))
    assert [one.missing for one in report.tables] == [5, 5, 5]
    assert 0 < sum(slept) < 3 * 0.2  # a look, and a third one, for all of them
