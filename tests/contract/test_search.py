"""Search by name: literal text in any case, the latest visit first."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from app.data_layer import DataLayer
from tests.contract.stores import Stores
from tests.contract.test_lists import OTHER, SALON, ids

NAMES = [
    "Клиент Первый",  # 1
    "клиент второй",  # 2
    "a*b",  # 3
    "aXb",  # 4
    "100% хлопок",  # 5
    "под_черк",  # 6
    "подчерк",  # 7
    "back\\slash",  # 8
    'кавычка \' и "двойная"',  # 9
    "смайл 😀🏽",  # 10
    "Ёлкин",  # 11
    "Елкин",  # 12
    "(скобки) [x] {y} ^$.|?+",  # 13
    "O'Brien, A:B",  # 14
    "две\nстроки",  # 15
    "ΣΊΣΥΦΟΣ",  # 16
    "Straße",  # 17
]


@pytest.fixture
def names(stores: Stores) -> None:
    stores.insert(
        "clients",
        *[
            {"id": number, "yclients_id": number, "company_id": SALON, "phone": str(number), "name": name}
            for number, name in enumerate(NAMES, 1)
        ],
        {"id": 90, "yclients_id": 90, "company_id": SALON, "phone": "90", "name": None},
        {"id": 91, "yclients_id": 91, "company_id": OTHER, "phone": "91", "name": "Клиент a*b"},
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("клиент", [1, 2]),
        ("КЛИЕНТ", [1, 2]),
        ("иент П", [1]),
        ("a*b", [3]),
        ("A*B", [3]),
        ("*", [3]),
        ("%", [5]),
        ("0% ", [5]),
        ("_", [6]),
        ("д_ч", [6]),
        ("\\", [8]),
        ("k\\s", [8]),
        ("\\s", [8]),
        ("'", [9, 14]),
        ('"двойная"', [9]),
        ("😀", [10]),
        ("🏽", [10]),
        ("ёлк", [11]),
        ("елк", [12]),
        (")", [13]),
        ("[x] {y} ^$.|?+", [13]),
        (".", [13]),
        ("brien, a:", [14]),
        ("е\nс", [15]),
        ("ίσυφος", [16]),
        ("straße", [17]),
        ("STRASSE", []),
        (" ", []),
        ("(?i)", []),
        ("***:", []),
        ("нет такого", []),
    ],
)
async def test_text_is_literal_and_case_does_not_matter(
    data: DataLayer, names: None, text: str, expected: list[int]
) -> None:
    answer = await data.search_clients_by_name(SALON, text)
    if text.isspace():
        assert answer.error_code == "invalid_argument"
    else:
        assert ids(answer) == expected


@pytest.mark.parametrize(("text", "expected"), [(" хлоп", [5]), ("клиент ", [1, 2]), (" клиент", [])])
async def test_spaces_at_the_ends_count(data: DataLayer, names: None, text: str, expected: list[int]) -> None:
    assert ids(await data.search_clients_by_name(SALON, text)) == expected


async def test_latest_visit_first_then_most_visits(data: DataLayer, stores: Stores) -> None:
    visits: list[tuple[str | None, int | None]] = [
        (None, 9),
        ("2026-01-01", None),
        ("2026-01-01", 3),
        ("2026-01-02", 1),
        (None, None),
        ("2026-01-01", 7),
        (None, 9),
        ("2025-12-31", 50),
        ("2026-01-01", -1),
        (None, 10),
    ]
    stores.insert(
        "clients",
        *[
            {
                "id": number,
                "yclients_id": number,
                "company_id": SALON,
                "phone": "7",
                "name": "Имя",
                "last_visit_date": last,
                "visit_count": count,
            }
            for number, (last, count) in enumerate(visits, 1)
        ],
    )
    expected = [4, 6, 3, 9, 2, 8, 10, 1, 7, 5]
    assert ids(await data.search_clients_by_name(SALON, "имя")) == expected
    assert ids(await data.search_clients_by_name(SALON, "имя", limit=8)) == expected[:8]


async def test_nine_columns_with_their_types(data: DataLayer, stores: Stores) -> None:
    stores.insert(
        "clients",
        {
            "id": 3,
            "yclients_id": 12,
            "company_id": SALON,
            "name": "Анна",
            "phone": "79000000001",
            "email": "anna@example.com",
            "visit_count": 4,
            "total_spent": "21.8",
            "loyalty_level": "gold",
            "last_visit_date": "2026-03-04",
            "notes": "not asked for",
        },
    )
    found = (await data.search_clients_by_name(SALON, "анна")).data
    assert found is not None
    assert [tuple(row) for row in found] == [
        (3, 12, "Анна", "79000000001", "anna@example.com", 4, Decimal("21.80"), "gold", date(2026, 3, 4))
    ]
    assert found[0]._fields == (
        *("id", "yclients_id", "name", "phone", "email"),
        *("visit_count", "total_spent", "loyalty_level", "last_visit_date"),
    )
    assert str(found[0].total_spent) == "21.80"


async def test_limits(data: DataLayer, stores: Stores) -> None:
    stores.execute(
        "INSERT INTO clients (id, yclients_id, company_id, phone, name) "
        f"SELECT n, n, {SALON}, n, 'Имя' FROM generate_series(1, 120) n"
    )
    for limit, expected in ((None, 100), (15, 15), (0, 1), (5000, 120), ("9", 9)):
        answer = await data.search_clients_by_name(SALON, "имя", limit=limit)  # type: ignore[arg-type]
        assert ids(answer) == list(range(1, expected + 1))
