"""`botdata parity` on two real stores: equal ones, ones with a planted difference, and what it leaves behind."""

from collections.abc import Iterator

import psycopg
import pytest
from pydantic import SecretStr

from app.embedded.salon import fill_salon
from app.errors import MigrationError
from app.parity import samples
from app.parity.check import check_parity
from app.parity.comparison import Comparison
from app.parity.reserved_company import COMPANY_ID, TITLE
from app.schema import revisions
from app.settings import Settings
from tests.support.postgres import PostgresServer
from tests.support.supabase import SupabaseServer, SupabaseServers

_WRITTEN = {
    "upsert_company",
    "upsert_client",
    "upsert_clients",
    "upsert_services",
    "upsert_staff_schedules",
    "upsert_dialog_context",
}


def _salon(database_url: str) -> None:
    revisions.upgrade(database_url)
    fill_salon(database_url, clients=150, baileys_keys=5)


@pytest.fixture(scope="module")
def supabase(supabase_server_factory: SupabaseServers) -> SupabaseServer:
    return supabase_server_factory(_salon, max_rows=100)


@pytest.fixture(scope="module")
def template(postgres_server: PostgresServer) -> Iterator[str]:
    url = postgres_server.create_database()
    _salon(url)
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def target(postgres_server: PostgresServer, template: str) -> Iterator[str]:
    """A database with the same salon as Supabase's."""
    url = postgres_server.create_database(template=template)
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def settings(supabase: SupabaseServer, target: str) -> Settings:
    return Settings.model_construct(
        supabase_url=supabase.url, supabase_key=SecretStr(supabase.service_key), database_url=SecretStr(target)
    )


def _execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)  # type: ignore[call-overload]


def _reserved_rows(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            f"SELECT (SELECT count(*) FROM companies WHERE company_id = {COMPANY_ID})"
            f" + (SELECT count(*) FROM clients WHERE company_id = {COMPANY_ID})"
            f" + (SELECT count(*) FROM services WHERE company_id = {COMPANY_ID})"
            f" + (SELECT count(*) FROM staff_schedules WHERE staff_id = {COMPANY_ID})"
            f" + (SELECT count(*) FROM dialog_contexts WHERE company_id = {COMPANY_ID})"
        ).fetchone()
    assert row is not None
    return int(row[0])


def _different(comparison: Comparison) -> dict[str, str | None]:
    return {m.method: m.first_difference for m in comparison.methods.values() if m.different}


async def test_equal_stores_give_equal_answers_to_all_21_methods(
    settings: Settings, supabase: SupabaseServer, target: str
) -> None:
    comparison = await check_parity(settings, size=12, writes=True)
    assert _different(comparison) == {}
    assert comparison.all_equal
    assert len(comparison.methods) == 21
    assert all(method.calls == method.equal > 0 for method in comparison.methods.values())
    assert _reserved_rows(supabase.database_url) == _reserved_rows(target) == 0


async def test_without_writes_no_writing_method_is_called(settings: Settings) -> None:
    comparison = await check_parity(settings, size=4, writes=False)
    assert len(comparison.methods) == 15
    assert not comparison.methods.keys() & _WRITTEN


# What is changed at the target, and the method and field that show it. None hides another: each has its own method.
_PLANTED = [
    ("UPDATE clients SET total_spent = 0.01", "get_client_by_id", "total_spent"),
    ("UPDATE services SET raw_data = NULL", "get_service_by_id", "raw_data"),
    ("UPDATE staff SET name = name || ' '", "get_staff", "name"),
    ("UPDATE staff_schedules SET date = date + 100", "get_staff_schedule", "data"),
    ("DELETE FROM bookings", "get_client_appointments", "data"),
    ("UPDATE companies SET timezone = 'Asia/Tokyo'", "get_company", "timezone"),
    ("UPDATE dialog_contexts SET messages = messages || '[1]'", "get_dialog_context", "messages"),
]


async def test_planted_differences_are_found_and_named(settings: Settings, target: str) -> None:
    for statement, _, _ in _PLANTED:
        _execute(target, statement)
    comparison = await check_parity(settings, size=12, writes=False)
    assert not comparison.all_equal
    found = _different(comparison)
    unnamed = [(method, found.get(method)) for _, method, field in _PLANTED if field not in (found.get(method) or "")]
    assert unnamed == []


async def test_first_difference_masks_phones(settings: Settings, target: str) -> None:
    _execute(target, "UPDATE clients SET notes = 'changed'")
    comparison = await check_parity(settings, size=8, writes=False)
    shown = comparison.methods["get_client_by_phone"].first_difference
    assert shown is not None
    assert "***" in shown
    assert "7900000" not in shown


@pytest.mark.parametrize("writes", [True, False])
async def test_rows_of_a_killed_run_are_removed(
    settings: Settings, supabase: SupabaseServer, target: str, writes: bool
) -> None:
    for url in (supabase.database_url, target):
        _execute(url, f"INSERT INTO companies (company_id, title) VALUES ({COMPANY_ID}, '{TITLE}')")
        _execute(url, f"INSERT INTO clients (yclients_id, phone, company_id) VALUES (1, '1', {COMPANY_ID})")
    comparison = await check_parity(settings, size=4, writes=writes)
    assert comparison.all_equal
    assert _reserved_rows(supabase.database_url) == _reserved_rows(target) == 0


@pytest.mark.parametrize("where", ["Supabase", "PostgreSQL"])
@pytest.mark.parametrize(
    "statement",
    [
        f"INSERT INTO companies (company_id, title) VALUES ({COMPANY_ID}, 'a real one')",
        f"INSERT INTO services (yclients_id, title, company_id) VALUES (1, 'a real one', {COMPANY_ID})",
    ],
)
async def test_a_taken_id_is_refused_and_its_rows_are_kept(
    settings: Settings, supabase: SupabaseServer, target: str, where: str, statement: str
) -> None:
    url = supabase.database_url if where == "Supabase" else target
    _execute(url, statement)
    try:
        with pytest.raises(MigrationError, match=rf"{where} holds rows of company {COMPANY_ID}"):
            await check_parity(settings, size=2, writes=True)
        assert _reserved_rows(url) == 1
    finally:
        _execute(url, f"DELETE FROM companies WHERE company_id = {COMPANY_ID}")
        _execute(url, f"DELETE FROM services WHERE company_id = {COMPANY_ID}")


async def test_two_stores_that_fail_alike_are_not_equal(settings: Settings, supabase: SupabaseServer) -> None:
    down = settings.model_copy(
        update={
            "supabase_url": "http://127.0.0.1:9",
            "database_url": SecretStr("postgresql://postgres@127.0.0.1:9/nothing"),
        }
    )
    with pytest.raises(MigrationError, match="cannot be reached"):
        await check_parity(down, size=2, writes=False)


def test_the_reserved_company_is_an_integer_that_both_stores_take() -> None:
    assert 2**30 < samples.COMPANY_ID < 2**31
