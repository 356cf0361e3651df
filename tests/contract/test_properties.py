"""Properties over generated text, phones, JSON and arrays: both backends alike, and as a model in Python says."""

from __future__ import annotations

import json
from typing import Any

import phonenumbers
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.contract.stores import Stores
from tests.contract.test_lists import SALON
from tests.contract.test_upserts import client

bounded = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
awkward = st.sampled_from(list("%_\\*'\"(){}[],.:^$|?+ \n\tаАяЯёЁаб😀İßaZ-"))
plain = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
texts = st.text(awkward | plain, min_size=1, max_size=12).filter(str.strip)


def stamped(number: int, **columns: Any) -> dict[str, Any]:
    """A client that later reads find the same in both stores: nothing of it is made up by a store."""
    return client(number, id=number, created_at="2026-01-01", **columns)


def folded(text: str) -> list[set[str]]:
    """For each character, itself and its other case, where that is one letter."""
    cases = [{c, c.lower(), c.upper(), c.lower().upper(), c.upper().lower()} for c in text]
    return [{case for case in group if len(case) == 1} for group in cases]


def contains(name: str, text: str) -> bool:
    wanted = folded(text)
    starts = range(len(name) - len(text) + 1)
    return any(all(name[start + i] in group for i, group in enumerate(wanted)) for start in starts)


@bounded
@given(names=st.lists(texts, min_size=1, max_size=6), text=texts)
@example(names=["a*b", "aXb"], text="a*b")
@example(names=["a%b", "aXb", "a_b"], text="a%b")
@example(names=["back\\slash", "back%"], text="\\")
@example(names=["КЛИЕНТ Ё"], text="клиент ё")
@example(names=["x  y", "x y"], text="  ")
@example(names=["x\ufeffy", "xy"], text="\ufeff")
async def test_search_finds_literally_what_contains_the_text(stores: Stores, names: list[str], text: str) -> None:
    stores.empty()
    stores.insert(
        "clients",
        *[{**client(number, name=name), "id": number, "phone": str(number)} for number, name in enumerate(names, 1)],
    )
    answer = await stores.ask("search_clients_by_name", SALON, text)
    if not text.strip():
        assert answer.error_code == "invalid_argument"
        return
    assert [row.id for row in answer.data] == [n for n, name in enumerate(names, 1) if contains(name, text)]


separators = st.sampled_from(["", " ", "-", "(", ") ", "\u00a0", "."])


@bounded
@given(digits=st.from_regex(r"9[0-9]{9}", fullmatch=True), data=st.data())
async def test_a_russian_phone_however_it_is_written_finds_its_client(
    stores: Stores, digits: str, data: st.DataObject
) -> None:
    stores.empty()
    stores.insert("clients", {**client(1), "phone": f"7{digits}"})
    written = "".join(digit + data.draw(separators) for digit in digits)
    for phone in (
        f"8{written}",
        f"+7 {written}",
        digits,
        f"7{digits}@c.us",
        f"7{digits}:3@s.whatsapp.net",
        f" 7{digits}",
    ):
        answer = await stores.ask("get_client_by_phone", phone)
        assert answer.data is not None, phone
        assert answer.data.phone == f"7{digits}"


@bounded
@given(region=st.sampled_from(["UA", "KZ", "BY", "US", "DE", "GB", "IN", "AM", "FR", "IL"]))
async def test_phones_of_other_countries_keep_their_code(stores: Stores, region: str) -> None:
    number = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    stored = f"{number.country_code}{number.national_number}"
    answer = await stores.ask("upsert_client", stamped(1, phone=f"+{stored}"))
    assert answer.data.phone == stored
    for form in (phonenumbers.PhoneNumberFormat.INTERNATIONAL, phonenumbers.PhoneNumberFormat.E164):
        assert (await stores.ask("get_client_by_phone", phonenumbers.format_number(number, form))).data.phone == stored


@bounded
@given(phone=st.text(max_size=25) | st.integers() | st.text("0123456789+-() ", max_size=20))
async def test_any_phone_gets_the_same_answer(stores: Stores, phone: Any) -> None:
    answer = await stores.ask("get_client_by_phone", phone)
    assert (answer.success, answer.error_code) in {(True, None), (False, "invalid_phone")}


# Left out is what PostgREST keeps and lite does not: it passes bodies through JavaScript (1.0, integers past 2^53), and
# takes a whole value that is a string or a truth value, or a list that begins with a truth value, for another type.
scalars = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(plain, max_size=8)
lossless = st.floats(allow_nan=False, allow_infinity=False, width=32).filter(lambda f: f % 1 != 0 and abs(f) > 1e-5)
nested = st.recursive(
    scalars | lossless,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(plain, max_size=5), inner, max_size=4),
    max_leaves=12,
)
documents = st.lists(nested, max_size=4).map(lambda items: [None, *items]) | st.dictionaries(
    st.text(plain, max_size=6), nested, max_size=4
)


@bounded
@given(value=documents)
@example(value={"a": None, "": [], 'ё"\\\n': [[], {}]})
@example(value=["\u2028", "😀", "\x7f"])
@example(value={"__proto__": 1, "constructor": {"prototype": 2}})
async def test_json_survives_a_write_and_a_read(stores: Stores, value: Any) -> None:
    written = await stores.ask("upsert_client", stamped(1, visit_history=value))
    assert written.success, written
    assert as_text(written.data.visit_history) == as_text(value)
    assert as_text((await stores.ask("get_client_by_id", 1)).data.visit_history) == as_text(value)


def as_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


elements = st.none() | st.text(awkward | plain, max_size=8) | st.sampled_from(["NULL", "null", "{}", '"', "\\", ""])


@bounded
@given(
    tags=st.lists(elements, max_size=6) | st.lists(st.lists(elements, min_size=2, max_size=2), min_size=1, max_size=3),
    numbers=st.lists(st.none() | st.integers(-(2**31), 2**31 - 1), max_size=6),
    notes=st.text(awkward | plain, max_size=30),
)
@example(tags=[["a", None], ['"', "\\"]], numbers=[], notes="")
@example(tags=["{}", "{", "}", ",", " ", "a b", "NULL", None], numbers=[None], notes="\x01\x7f\u0085\ufeff")
async def test_arrays_and_text_survive_a_write_and_a_read(
    stores: Stores, tags: list[Any], numbers: list[int | None], notes: str
) -> None:
    # One row of one shape, and the same in a mixed batch, where what is stored is written again.
    assert (await stores.ask("upsert_client", stamped(1, tags=tags, branch_ids=numbers, notes=notes))).success
    mixed = await stores.ask(
        "upsert_clients", [stamped(1, email="e"), stamped(2, tags=tags, branch_ids=numbers, notes=notes)]
    )
    for row in mixed.data:
        assert (row.tags, row.branch_ids, row.notes) == (tags, numbers, notes)
    read = (await stores.ask("get_client_by_id", 2)).data
    assert (read.tags, read.branch_ids, read.notes) == (tags, numbers, notes)


@bounded
@given(data=st.data())
async def test_random_shapes_write_what_a_model_says(stores: Stores, data: st.DataObject) -> None:
    stores.empty()
    columns = {
        "email": st.none() | st.text(plain, max_size=5),
        "visit_count": st.none() | st.integers(0, 9),
        "preferences": st.none() | documents,
        "tags": st.none() | st.lists(elements, max_size=3),
        "total_spent": st.none() | st.decimals(-99, 99, places=2),
        "blacklisted": st.none() | st.booleans(),
        "last_visit_date": st.none() | st.dates(),
    }
    model: dict[int, dict[str, Any]] = {}
    defaults = {"visit_count": 0, "blacklisted": False}
    for _ in range(3):
        batch = []
        for number in data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4, unique=True)):
            given_columns = data.draw(st.fixed_dictionaries({}, optional=columns))
            model.setdefault(number, {**dict.fromkeys(columns), **defaults}).update(given_columns)
            batch.append(client(number, **given_columns))
        answer = await stores.ask("upsert_clients", batch)
        assert answer.success, answer
        for row in answer.data:
            for name, value in model[row.yclients_id].items():
                assert getattr(row, name) == value, name
