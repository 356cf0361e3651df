"""The made-up salon's clients: common names, numbers that belong to nobody, and visits that agree with the totals."""

import random
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import NamedTuple

from app.embedded.salon.ids import Row, client_id, phone, service_id, staff_id
from app.embedded.salon.offer import service_title

_SHARED_PHONE = (99, 100)  # two members of a family, as every salon has them
_HISTORIES = 256

_WOMEN = ("Анна", "Мария", "Елена", "Ольга", "Наталья", "Екатерина", "Татьяна", "Ирина", "Светлана", "Алёна", "Юлия")
_MEN = ("Сергей", "Алексей", "Дмитрий", "Андрей", "Иван", "Михаил", "Георгий", "Фёдор", "Павел", "Артём", "Илья")
_SURNAMES = ("Иванов", "Смирнов", "Кузнецов", "Попов", "Соколов", "Лебедев", "Козлов", "Новиков", "Морозов", "Королёв")
_WISHES = (
    "любит чай без сахара ☕",
    "просит не звонить, только писать",
    "аллергия на аммиак",
    "приходит с ребёнком",
    "",
)
_ASKED = ("Хочу записаться на стрижку 😀", "А завтра вечером есть время?", "Сколько стоит окрашивание?", "Спасибо! 🙏")


class Person(NamedTuple):
    """Who a client is: what bookings and conversations repeat."""

    yclients_id: int
    phone: str
    name: str | None


class _History(NamedTuple):
    """Past visits, and what sums them up, as PostgreSQL's text: made once for many clients, that is what is fast."""

    visits: str
    visit_count: int
    first: str | None
    last: str | None
    services: str
    service_ids: str
    staff_ids: str
    spent: str
    average: str | None


def people(rng: random.Random, salon: int, count: int) -> list[Person]:
    """As many people as asked for; one in 97 has no name, and two share a phone."""
    found = []
    for number in range(count):
        woman = rng.random() < 0.6
        name: str | None = rng.choice(_WOMEN if woman else _MEN)
        if rng.random() < 0.7:
            name = f"{name} {rng.choice(_SURNAMES)}{'а' if woman else ''}"
        if number % 97 == 96:
            name = None
        owner = _SHARED_PHONE[0] if number == _SHARED_PHONE[1] else number
        found.append(Person(client_id(salon, number), phone(salon, owner), name))
    return found


def client_rows(rng: random.Random, salon: list[Person], *, company_id: int, today: date, staff: int) -> Iterator[Row]:
    """Rows of `clients`, about 1.6 kB each as a page of text values has them."""
    histories = [_history(rng, company_id, today, staff) for _ in range(_HISTORIES)]
    synced = datetime.combine(today - timedelta(days=1), time(3, 15, 0, 250000))
    branches = f"{{{company_id}}}"
    for number, person in enumerate(salon):
        history = rng.choice(histories)
        count, digits = history.visit_count, person.phone
        yield {
            "yclients_id": person.yclients_id,
            "name": person.name,
            "phone": digits,
            "raw_phone": f"+7 ({digits[1:4]}) {digits[4:7]}-{digits[7:9]}-{digits[9:]}",
            "email": f"client{number + 1}@example.com" if number % 3 == 0 else None,
            "discount": rng.choice(("0.00", "5.00", "7.50", "10.00", None)),
            "company_id": company_id,
            "branch_ids": branches,
            "tags": rng.choice(("{}", "{vip}", "{новый клиент}", '{vip,"друзья, семья"}', None)),
            "status": rng.choice(("active", "active", "inactive", None)),
            "source": rng.choice(("whatsapp", "сайт", "рекомендация", None)),
            "created_at": f"{history.first or today - timedelta(days=30)} 09:{number % 60:02}:00",
            "updated_at": synced - timedelta(microseconds=rng.randrange(10**12)),
            "visit_count": count,
            "total_spent": history.spent,
            "first_visit_date": history.first,
            "last_visit_date": history.last,
            "last_services": history.services,
            "visit_history": history.visits,
            "preferences": rng.choice(
                ('{"quiet": true, "master": "Фёдор"}', '{"drink": "кофе", "reminder_hours": [24, 2]}', "{}", None)
            ),
            "last_sync_at": synced,
            "loyalty_level": "gold" if count > 8 else "silver" if count > 4 else "bronze" if count else None,
            "client_segment": rng.choice(("постоянный", "новый", "уснувший", None)),
            "average_bill": history.average,
            "last_service_ids": history.service_ids,
            "favorite_staff_ids": history.staff_ids,
            "preferred_time_slots": rng.choice(("{утро}", "{день,вечер}", "{}", None)),
            "blacklisted": rng.random() < 0.01,
            "notes": rng.choice((*_WISHES, None)),
            "created_by_ai": rng.random() < 0.1,
            "last_ai_interaction": synced - timedelta(hours=rng.randrange(1, 2000)),
            "ai_context": f'{{"last_intent": "booking", "turns": [{{"by": "user", "text": "{rng.choice(_ASKED)}"}}]}}',
            "ai_messages_count": rng.randrange(40),
            "ai_satisfaction_score": rng.choice(("4.50", "5.00", "3.25", None)),
            "services_amount": history.spent,
            "goods_amount": "0.00",
            "goods_purchases": "[]",
            "goods_count": 0,
        }


def _history(rng: random.Random, company_id: int, today: date, staff: int) -> _History:
    days = sorted(rng.sample(range(1, 900), rng.choice((0, 1, 1, 2, 2, 3, 3, 4, 5, 6))), reverse=True)
    services = [rng.randrange(18) for _ in days]
    masters = [staff_id(company_id, rng.randrange(max(1, staff))) for _ in days]
    costs = [Decimal(rng.randrange(9_000, 60_000)).scaleb(-1) for _ in days]
    # The costs keep their kopecks ("1500.10"), which no JSON encoder of Python writes.
    visits = (
        f'{{"id": {rng.randrange(10**8, 10**9)}, "date": "{today - timedelta(days=day)}", "cost": {cost:.2f}, '
        f'"services": ["{service_title(service)}"], "staff_id": {master}, "attendance": 1}}'
        for day, service, master, cost in zip(days, services, masters, costs, strict=True)
    )
    return _History(
        visits=f"[{', '.join(visits)}]",
        visit_count=len(days),
        first=str(today - timedelta(days=days[0])) if days else None,
        last=str(today - timedelta(days=days[-1])) if days else None,
        services="{" + ",".join(f'"{service_title(service)}"' for service in services[-2:]) + "}",
        service_ids="{" + ",".join(str(service_id(company_id, service)) for service in services[-2:]) + "}",
        staff_ids="{" + ",".join(map(str, sorted(set(masters)))) + "}",
        spent=f"{sum(costs):.2f}",
        average=f"{sum(costs) / len(costs):.2f}" if costs else None,
    )
