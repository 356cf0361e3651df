"""The nine places where the two backends of the system being replaced gave different answers: one test each."""

from __future__ import annotations

from app import models
from app.parity.comparison import differences
from app.stores.codec.rows import table_of
from tests.contract.stores import Stores, rows_of
from tests.contract.test_lists import OTHER, SALON, ids, insert_bookings, records
from tests.contract.test_upserts import client, schedule, service


async def test_1_appointments_come_from_bookings_by_the_clients_id(stores: Stores) -> None:
    stores.insert("clients", {**client(5), "id": 1})
    insert_bookings(
        stores,
        [
            {"datetime": "2026-12-01 10:00"},
            {"datetime": "2026-12-02 10:00", "client_yclients_id": 6, "client_phone": "79684484488"},
            {"datetime": "2026-12-03 10:00", "client_phone": None},
        ],
    )
    assert records(await stores.ask("get_client_appointments", 5)) == [3, 1]
    assert records(await stores.ask("get_upcoming_appointments", 5, SALON)) == [1, 3]


async def test_2_services_of_a_category_are_the_active_ones(stores: Stores) -> None:
    stores.insert(
        "services",
        {**service(1), "id": 1, "category_id": 3},
        {**service(2), "id": 2, "category_id": 3, "is_active": False},
        {**service(3), "id": 3, "category_id": 3, "is_active": None},
    )
    assert ids(await stores.ask("get_services_by_category", SALON, 3)) == [1]


async def test_3_a_company_is_known_by_its_company_id(stores: Stores) -> None:
    stores.insert("companies", {"id": 100, "company_id": SALON, "yclients_id": OTHER, "title": "Салон"})
    assert (await stores.ask("get_company", SALON)).data.id == 100
    assert (await stores.ask("get_company", OTHER)).data is None
    written = await stores.ask("upsert_company", {"company_id": OTHER, "yclients_id": SALON, "title": "Другой"})
    assert written.data.id != 100
    assert (await stores.ask("get_company", SALON)).data.title == "Салон"


async def test_4_schedules_are_those_of_the_companys_staff(stores: Stores) -> None:
    stores.insert("staff", {"yclients_id": 1, "company_id": SALON, "name": "Али"})
    stores.insert("staff", {"yclients_id": 2, "company_id": OTHER, "name": "Чужой"})
    stores.insert("staff_schedules", {"id": 1, **schedule(1, "2026-11-01")}, {"id": 2, **schedule(2, "2026-11-01")})
    assert ids(await stores.ask("get_staff_schedules", SALON)) == [1]
    assert ids(await stores.ask("get_staff_schedules", SALON, staff_id=2)) == []
    assert (await stores.ask("get_staff_schedule", 2, "2026-11-01", SALON)).data is None


async def test_5_name_search_is_literal_of_nine_columns_and_in_one_order(stores: Stores) -> None:
    stores.insert(
        "clients",
        {**client(1, name="100% _x"), "id": 1, "last_visit_date": None, "visit_count": 9},
        {**client(2, name="100% _y"), "id": 2, "last_visit_date": "2026-01-01", "visit_count": 1},
        {**client(3, name="1000 ax"), "id": 3, "last_visit_date": "2026-02-01", "visit_count": 1},
        {**client(4, name="100% _z"), "id": 4, "last_visit_date": "2026-01-01", "visit_count": 2},
    )
    found = await stores.ask("search_clients_by_name", SALON, "0% _")
    assert ids(found) == [4, 2, 1]
    assert len(found.data[0]) == 9


async def test_6_a_phone_of_two_clients_is_ambiguous(stores: Stores) -> None:
    stores.insert("clients", client(1), {**client(2), "company_id": OTHER}, {**client(3), "company_id": OTHER})
    assert (await stores.ask("get_client_by_phone", "79684484488")).error_code == "ambiguous"
    assert (await stores.ask("get_client_by_phone", "79684484488", OTHER)).error_code == "ambiguous"
    assert (await stores.ask("get_client_by_phone", "79684484488", SALON)).data.yclients_id == 1


async def test_7_a_list_of_more_than_a_thousand_rows_is_whole(stores: Stores) -> None:
    stores.execute(
        "INSERT INTO services (id, yclients_id, company_id, title, weight, created_at, updated_at) "
        f"SELECT n, n, {SALON}, 'услуга', n, DATE '2026-01-01' + n, DATE '2026-01-02' + n "
        "FROM generate_series(1, 1203) n"
    )
    assert ids(await stores.ask("get_services", SALON)) == list(range(1203, 0, -1))


async def test_8_every_conflict_key_is_a_unique_constraint(stores: Stores) -> None:
    written = (models.Client, models.Company, models.DialogContext, models.Service, models.StaffSchedule)
    for url in stores.database_urls.values():
        unique = rows_of(
            url,
            "SELECT conrelid::regclass::text AS name, array_agg(attname::text ORDER BY position) AS key "
            "FROM pg_constraint, unnest(conkey) WITH ORDINALITY AS part (number, position), pg_attribute "
            "WHERE contype = 'u' AND attrelid = conrelid AND attnum = number GROUP BY oid, conrelid",
        )
        for table in map(table_of, written):
            assert {"name": table.name, "key": list(table.info["natural_key"])} in unique
    assert (await stores.ask("upsert_client", client(1))).success
    assert (await stores.ask("upsert_services", [service(1)])).success
    assert (await stores.ask("upsert_staff_schedules", [schedule(1, "2026-01-01")])).success
    assert (await stores.ask("upsert_company", {"company_id": 1, "title": "Салон"})).success
    assert (await stores.ask("upsert_dialog_context", {"user_id": "7"})).success


async def test_9_the_comparison_compares_two_stores(stores: Stores) -> None:
    assert len({id(layer) for layer in stores.layers.values()}) == len(set(stores.database_urls.values())) == 2
    for name, url in stores.database_urls.items():
        await stores.layers[name].upsert_client(client(1, name=name))
        assert rows_of(url, "SELECT name FROM clients") == [{"name": name}]
    left, right = [await layer.get_client_by_id(1) for layer in stores.layers.values()]
    assert differences(left, right, (1,)) == ["data.name"]
