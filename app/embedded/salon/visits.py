"""The made-up salon's bookings, and the bot's conversations with its clients."""

import json
import random
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta

from app.embedded.salon.clients import Person
from app.embedded.salon.ids import Row, phone, record_id, service_id, staff_id
from app.embedded.salon.offer import service_title, staff_name

_STATUSES = ("confirmed", "pending", None, "cancelled", "confirmed", "deleted", "attended")


def booking_rows(
    rng: random.Random, company_id: int, count: int, persons: list[Person], services: int, staff: int, day: date
) -> Iterator[Row]:
    """From three weeks ago to a fortnight ahead; every third one is the first client's."""
    for number in range(count):
        person = persons[0] if number % 3 == 0 else persons[rng.randrange(min(len(persons), 30))]
        starts = datetime.combine(
            day + timedelta(days=number * 36 // count - 21), time(rng.randrange(10, 21), rng.choice((0, 30)))
        )
        member, chosen = rng.randrange(staff), rng.sample(range(services), min(services, rng.choice((1, 1, 2))))
        made = starts - timedelta(days=rng.randrange(1, 10), minutes=rng.randrange(600))
        yield {
            "id": f"{rng.getrandbits(128):032x}",
            "yclients_record_id": record_id(company_id, number),
            "company_id": company_id,
            "client_phone": person.phone,
            "client_name": person.name,
            "client_yclients_id": person.yclients_id,
            "staff_id": staff_id(company_id, member),
            "staff_name": staff_name(member),
            "services": [service_title(service) for service in chosen],
            "service_ids": [service_id(company_id, service) for service in chosen],
            "datetime": starts,
            "date": starts.date(),
            "duration": 3600 * len(chosen),
            "cost": rng.choice(("1500.00", "2200.50", "0.00", None)),
            "prepaid": "500.00" if number % 9 == 8 else None,
            "status": _STATUSES[number % len(_STATUSES)],
            "visit_attendance": 1 if starts.date() < day else 0,
            "comment": rng.choice(("", None, "перезвонить за час ☎️")),
            "online": number % 2 == 0,
            "record_hash": f"{rng.getrandbits(128):032x}",
            "created_at": made,
            "updated_at": made + timedelta(microseconds=rng.randrange(10**6)),
            "created_by_bot": number % 4 == 0,
        }


def dialog_rows(
    rng: random.Random, company_id: int, salon: int, count: int, persons: list[Person], day: date
) -> Iterator[Row]:
    for number in range(count):
        last = datetime.combine(day - timedelta(days=1), time(6, 0, 0, rng.randrange(10**6))) - timedelta(
            minutes=rng.randrange(20_000)
        )
        messages = [
            {"role": "user", "text": "Здравствуйте! Можно на завтра? 🙂", "at": last.isoformat()},
            {"role": "bot", "text": "Есть окна в 12:00 и 18:30.\nКакое удобно?", "at": last.isoformat()},
        ][: number % 3]
        yield {
            "id": f"{rng.getrandbits(128):032x}",
            "user_id": phone(salon, number),
            "state": rng.choice(("idle", "choosing_time", "confirming", None)),
            "data": rng.choice(('{"step": 1, "price": 1500.10}', "{}", "null", None)),
            "messages": json.dumps(messages, ensure_ascii=False),
            "created_at": last - timedelta(days=20),
            "updated_at": last,
            "client_id": persons[number].yclients_id if number < len(persons) else None,
            "last_activity": last,
            "message_count": len(messages),
            "session_type": rng.choice(("booking", "question", None)),
            "context_metadata": rng.choice(('{"lang": "ru", "tries": [1, null]}', "{}", None)),
            "company_id": company_id,
        }
