"""Generated calls of the 21 methods. Those of one lane use its own ids, so that lanes can go side by side."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from app import models
from app.parity.reads import Call
from app.stores.codec.rows import table_of
from tests.chaos.column_values import ANYTHING, exact_document, value
from tests.chaos.hostile_text import UNFIT, text
from tests.chaos.transcript import PHONES

_KEYS = 6  # rows of a table that a lane writes again and again
_FIRST_DAY = date(2026, 11, 18)
_MISTAKEN = 0.18  # of the arguments: anything at all
BEYOND = 10_000_000  # companies from here on are written to PostgreSQL alone

_EXACT = 10**9  # ids that no other call asks for, of clients that PostgreSQL alone has
# Those that ask for few columns more often: a request with the names of forty takes several times as long.
_READS = {
    "get_dialog_context": 8, "get_client_by_phone": 6, "get_client_by_id": 4, "get_client_appointments": 4,
    "get_upcoming_appointments": 3, "search_clients_by_name": 14, "get_staff_by_id": 8, "get_staff_schedules": 4,
    "get_staff_schedule": 9, "get_services": 5, "get_staff": 5, "get_service_by_id": 7, "get_services_by_category": 5,
    "get_company": 3, "health_check": 2,
}  # fmt: skip
_WRITES = {
    "upsert_client": (5, models.Client), "upsert_clients": (2, models.Client), "upsert_services": (3, models.Service),
    "upsert_staff_schedules": (3, models.StaffSchedule), "upsert_company": (4, models.Company),
    "upsert_dialog_context": (5, models.DialogContext),
}  # fmt: skip
_WEIGHTS = _READS | {method: weight for method, (weight, _) in _WRITES.items()}
METHODS = tuple(_WEIGHTS)


def _can_be_key(thing: object) -> bool:
    try:
        hash(thing)
    except TypeError:
        return False
    return True


_HASHABLE = tuple(thing for thing in ANYTHING if _can_be_key(thing))


@dataclass(frozen=True)
class Lane:
    """Calls that touch the rows of one lane only.

    Attributes:
        number: from 0.
    """

    number: int

    @property
    def company(self) -> int:
        """The lane's salon."""
        return 5_000_000 + self.number

    def id(self, position: int) -> int:
        """One of the ids that this lane alone uses."""
        return 6_000_000 + 1000 * self.number + position

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """What is there at the beginning, by table: texts that calls look for, hostile ones."""
        made: dict[str, list[dict[str, Any]]] = {"clients": [], "dialog_contexts": [], "staff_schedules": []}
        for position in range(1, _KEYS + 1):
            number, name = self.id(position), self._text("name", position)
            phone = f"{PHONES}{self.number:02}{position:02}"
            made["clients"].append(
                {"id": number, "yclients_id": number, "company_id": self.company, "name": name, "phone": phone}
            )
            made["dialog_contexts"].append({"user_id": self._user_text(position)})
            day = _FIRST_DAY + timedelta(days=position)
            staff_name = self._text("staff_name", position)
            made["staff_schedules"].append({"id": number, "staff_id": number, "date": day, "staff_name": staff_name})
        return made

    def call(self, chance: random.Random) -> Call:
        """The next call, from the choices given alone."""
        method = chance.choices(METHODS, list(_WEIGHTS.values()))[0]
        if method in _WRITES:
            return self._write(chance, method)
        arguments, options = self._reading(chance)[method]()
        if chance.random() < 0.1:  # what may be left out is, and what may be given by name
            options = {name: given for name, given in options.items() if chance.random() < 0.5}
        return Call(method, tuple(arguments), options)

    def exact(self, chance: random.Random, number: int) -> Call:
        """A write whose JSON the server in PostgREST's place would change, for PostgreSQL alone."""
        row = {
            "yclients_id": _EXACT + number,
            "company_id": BEYOND + self.number,
            "name": "x",
            "phone": f"{PHONES}9999",
        }
        column = chance.choice(("visit_history", "preferences", "ai_context", "goods_purchases"))
        return Call("upsert_client", ({**row, column: exact_document(chance)},))

    def _reading(self, chance: random.Random) -> dict[str, Callable[[], tuple[list[Any], dict[str, Any]]]]:
        def some_id() -> Any:
            return self._or_anything(chance, self._number(chance, self.id(chance.randint(1, _KEYS + 1))))

        def company() -> Any:
            return self._or_anything(chance, self._number(chance, self.company))

        def given(**options: Callable[[], Any]) -> dict[str, Any]:
            return {name: make() for name, make in options.items() if chance.random() < 0.6}

        def limit() -> Any:
            return self._or_anything(chance, chance.choice((None, 1, 2, 3, 100, 0, -5, 10**18, "7", 2**63 - 1)))

        def switch() -> Any:
            return self._or_anything(chance, chance.random() < 0.5)

        def day() -> Any:
            return self._or_anything(chance, chance.choice((self._day(chance), self._day(chance).isoformat())))

        def words(column: str) -> Any:
            known = self._text(column, chance.randint(1, _KEYS))
            return self._or_anything(chance, known if chance.random() < 0.6 else text(chance, 255))

        def order() -> Any:
            return self._or_anything(chance, chance.choice(("datetime", "created_at", "cost")))

        return {
            "get_dialog_context": lambda: ([self._user(chance)], {}),
            "get_client_by_phone": lambda: ([self._phone(chance)], given(company_id=company)),
            "get_client_by_id": lambda: ([some_id()], given(company_id=company)),
            "get_client_appointments": lambda: (
                [some_id()],
                given(company_id=company, limit=limit, order_by=order, descending=switch),
            ),
            "get_upcoming_appointments": lambda: ([some_id(), company()], {}),
            "search_clients_by_name": lambda: ([company(), words("name")], given(limit=limit)),
            "get_staff_by_id": lambda: ([some_id(), company()], {}),
            "get_staff_schedules": lambda: (
                [company()],
                given(
                    staff_id=some_id, staff_name=lambda: words("staff_name"), date_from=day,
                    date_to=day, is_working=switch, limit=limit
                ),
            ),
            "get_staff_schedule": lambda: ([some_id(), day()], given(company_id=company)),
            "get_services": lambda: ([company()], given(include_inactive=switch)),
            "get_staff": lambda: ([company()], given(include_inactive=switch)),
            "get_service_by_id": lambda: ([some_id()], given(company_id=company)),
            "get_services_by_category": lambda: ([company(), some_id()], {}),
            "get_company": lambda: ([company()], {}),
            "health_check": lambda: ([], {}),
        }  # fmt: skip

    def _write(self, chance: random.Random, method: str) -> Call:
        model = _WRITES[method][1]
        if not method.endswith("s"):
            return Call(method, (self._or_anything(chance, self._row(chance, model, chance.randint(1, _KEYS)), 0.02),))
        positions = chance.sample(range(1, _KEYS + 1), chance.randint(1, 3))
        if chance.random() < 0.1:
            positions += [positions[0]]  # a key twice, unless another column is what is wrong
        rows = [self._or_anything(chance, self._row(chance, model, position, 0.02), 0.01) for position in positions]
        return Call(method, (self._or_anything(chance, chance.choice((rows, tuple(rows))), 0.02),))

    def _row(self, chance: random.Random, model: type[models.Base], position: int, unfit: float = 0.03) -> Any:
        """A row of one of the lane's keys, whose id goes with the key, with some of the columns that there are."""
        table = table_of(model)
        number = self.id(position)
        row: dict[Any, Any] = {"id": number, "created_at": "2026-01-01"}
        if model is models.StaffSchedule:
            row |= {
                "staff_id": number,
                "date": _FIRST_DAY + timedelta(days=position),
            }
            row["staff_name"] = self._text("staff_name", position) if chance.random() < 0.6 else text(chance, 255)
            row = {name: given for name, given in row.items() if name in table.c}
        elif model is models.DialogContext:
            row = {"user_id": self._user(chance, position), "created_at": "2026-01-01"}
        elif model is models.Company:
            row |= {"id": self.company, "company_id": self._number(chance, self.company), "title": text(chance, 255)}
        else:
            row |= {"yclients_id": self._number(chance, number), "company_id": self.company}
            known = model is models.Client and chance.random() < 0.6
            row["name" if model is models.Client else "title"] = (
                self._text("name", position) if known else text(chance, 255)
            )
        if model is models.Client:
            row["phone"] = self._phone(chance, position, unfit)
        row = {name: given for name, given in row.items() if name in table.c}
        free = [column for column in table.c if column.name not in row and not column.primary_key]
        for column in chance.sample(free, chance.randint(0, min(9, len(free)))):
            row[column.name] = self._column(chance, column, unfit)
        if chance.random() < 0.02:
            row[self._or_anything(chance, text(chance, 40), 0.5, hashable=True)] = 1
        if chance.random() < 0.02:
            del row[chance.choice(list(row))]
        return row

    def _column(self, chance: random.Random, column: Any, unfit: float) -> Any:
        if column.name in {"company_id", "client_id", "yclients_id", "category_id", "staff_id"}:
            return self._or_anything(chance, self.id(chance.randint(1, _KEYS)), unfit)
        if column.name == "timezone" and chance.random() < 0.5:
            return chance.choice(("Europe/Moscow", "Pacific/Kiritimati", "Etc/GMT+12", "Asia/Kathmandu", "utc"))
        return value(chance, column, unfit=unfit)

    def _number(self, chance: random.Random, number: int) -> Any:
        return chance.choice((number, number, number, str(number), f" {number}\n", f"+{number}"))

    def _user(self, chance: random.Random, position: int | None = None) -> Any:
        """An id of a conversation, with the lane's own letter in it; hostile all the same."""
        made = self._user_text(position or chance.randint(1, _KEYS + 1))
        if chance.random() < 0.03:  # no text that another lane could write too
            return chance.choice([*UNFIT, *(thing for thing in ANYTHING if not isinstance(thing, str))])
        return made

    def _user_text(self, position: int) -> str:
        known = random.Random(f"user {self.number} {position}")
        made, letter = text(known, 250), chr(0x4E00 + self.number)
        at = known.randint(0, len(made))
        return f"{made[:at]}{letter}{made[at:]}"

    def _text(self, column: str, position: int) -> str:
        """A text that one of the lane's rows often has; never blank."""
        return text(random.Random(f"{column} {self.number} {position}"), 250) + "я"

    def _phone(self, chance: random.Random, position: int | None = None, unfit: float = _MISTAKEN) -> Any:
        digits = f"{PHONES}{self.number:02}{position or chance.randint(1, _KEYS + 1):02}"
        written = (digits, f"+{digits}", int(digits), f"8{digits[1:]}", f"{digits}@c.us", f"+7 (900) 555-{digits[-4:]}")
        return self._or_anything(chance, chance.choice(written), unfit)

    def _day(self, chance: random.Random) -> date:
        near = _FIRST_DAY + timedelta(days=chance.randint(0, _KEYS + 1))
        return chance.choice((near, near, near, date.min, date.max))

    def _or_anything(
        self, chance: random.Random, good: Any, mistaken: float = _MISTAKEN, *, hashable: bool = False
    ) -> Any:
        if chance.random() >= mistaken:
            return good
        if hashable:
            return chance.choice(_HASHABLE)
        return chance.choice(ANYTHING)
