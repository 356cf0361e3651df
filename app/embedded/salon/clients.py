"""The made-up salon's clients: common names, numbers that belong to nobody, and visits that agree with the totals."""

import random
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import NamedTuple

from app.embedded.salon.ids import Row, client_id, phone, service_id, staff_id
from app.embedded.salon.offer import service_title

_SHARED_PHONE = (99, 100)  # two members of a family, as every salon has them
_PORTRAITS = 512

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
    # Everything but who it is comes from a few hundred portraits: 100,000 clients are to take seconds.
    portraits = [_portrait(rng, company_id, today, staff) for _ in range(_PORTRAITS)]
    synced = _synced(today)
    for number, person in enumerate(salon):
        digits = person.phone
        yield portraits[int(rng.random() * _PORTRAITS)] | {
            "yclients_id": person.yclients_id,
            "name": person.name,
            "phone": digits,
            "raw_phone": f"+7 ({digits[1:4]}) {digits[4:7]}-{digits[7:9]}-{digits[9:]}",
            "email": f"client{number + 1}@example.com" if number % 3 == 0 else None,
            "updated_at": synced - timedelta(microseconds=int(rng.random() * 10**12)),
        }


def _portrait(rng: random.Random, company_id: int, today: date, staff: int) -> Row:
    """A client without name and address, each value as PostgreSQL's text; the totals are those of the visits."""
    days = sorted(rng.sample(range(1, 900), rng.choice((0, 1, 1, 2, 2, 3, 3, 4, 5, 6))), reverse=True)
    dates = [str(today - timedelta(days=day)) for day in days]
    services = [rng.randrange(18) for _ in days]
    masters = [staff_id(company_id, rng.randrange(max(1, staff))) for _ in days]
    costs = [Decimal(rng.randrange(9_000, 60_000)).scaleb(-1) for _ in days]
    spent = f"{sum(costs):.2f}"
    # The costs keep their kopecks ("1500.10"), which no JSON encoder of Python writes.
    visits = ", ".join(
        f'{{"id": {rng.randrange(10**8, 10**9)}, "date": "{day}", "cost": {cost:.2f}, '
        f'"services": ["{service_title(service)}"], "staff_id": {master}, "attendance": 1}}'
        for day, service, master, cost in zip(dates, services, masters, costs, strict=True)
    )
    asked = rng.choice(_ASKED)
    return {
        "discount": rng.choice(("0.00", "5.00", "7.50", "10.00", None)),
        "company_id": company_id,
        "branch_ids": f"{{{company_id}}}",
        "tags": rng.choice(("{}", "{vip}", "{новый клиент}", '{vip,"друзья, семья"}', None)),
        "status": rng.choice(("active", "active", "inactive", None)),
        "source": rng.choice(("whatsapp", "сайт", "рекомендация", None)),
        "created_at": f"{dates[0] if dates else today - timedelta(days=30)} 09:{rng.randrange(60):02}:00",
        "visit_count": str(len(days)),
        "total_spent": spent,
        "first_visit_date": dates[0] if dates else None,
        "last_visit_date": dates[-1] if dates else None,
        "last_services": "{" + ",".join(f'"{service_title(service)}"' for service in services[-2:]) + "}",
        "visit_history": f"[{visits}]",
        "preferences": rng.choice(
            ('{"quiet": true, "master": "Фёдор"}', '{"drink": "кофе", "reminder_hours": [24, 2]}', "{}", None)
        ),
        "last_sync_at": str(_synced(today)),
        "loyalty_level": "gold" if len(days) > 4 else "silver" if len(days) > 2 else "bronze" if days else None,
        "client_segment": rng.choice(("постоянный", "новый", "уснувший", None)),
        "average_bill": f"{sum(costs) / len(costs):.2f}" if costs else None,
        "last_service_ids": "{" + ",".join(str(service_id(company_id, service)) for service in services[-2:]) + "}",
        "favorite_staff_ids": "{" + ",".join(map(str, sorted(set(masters)))) + "}",
        "preferred_time_slots": rng.choice(("{утро}", "{день,вечер}", "{}", None)),
        "blacklisted": "true" if rng.random() < 0.01 else "false",
        "notes": rng.choice((*_WISHES, None)),
        "created_by_ai": "true" if rng.random() < 0.1 else "false",
        "last_ai_interaction": str(_synced(today) - timedelta(hours=rng.randrange(1, 2000))),
        "ai_context": f'{{"last_intent": "booking", "turns": [{{"role": "user", "text": "{asked}"}}]}}',
        "ai_messages_count": str(rng.randrange(40)),
        "ai_satisfaction_score": rng.choice(("4.50", "5.00", "3.25", None)),
        "services_amount": spent,
        "goods_amount": "0.00",
        "goods_purchases": "[]",
        "goods_count": "0",
    }


def _synced(today: date) -> datetime:
    return datetime.combine(today - timedelta(days=1), time(3, 15, 0, 250000))
