"""What the made-up salon offers: the company itself, its services, its staff and their working days."""

import json
import random
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta

from app.embedded.salon.ids import TIMEZONE, Row, phone, service_id, staff_id

_SERVICES = {
    "Стрижки": (("Мужская стрижка", 1500), ("Женская стрижка", 2200), ("Детская стрижка", 1100), ("Чёлка", 500)),
    "Борода": (("Моделирование бороды", 1300), ("Королевское бритьё", 1800), ("Тонирование бороды", 1200)),
    "Цвет": (("Окрашивание корней", 3500), ("Мелирование", 5200), ("Тонирование", 2900), ("Airtouch ✨", 9800)),
    "Ногти": (("Маникюр с покрытием", 2300), ("Педикюр", 2700), ("Маникюр мужской", 1600), ("Снятие покрытия", 400)),
    "Уход": (("Уход «Счастье для волос»", 4100), ("Воск, 2 зоны", 700), ("Камуфляж седины", 1400)),
}
_OFFERED = tuple((category, title, price) for category, found in _SERVICES.items() for title, price in found)
_LENGTHS = ("", " + мытьё", ", короткие волосы", ", длинные волосы", " у топ-мастера")
_STAFF = ("Али", "Бари", "Рамзан", "Сергей", "Фёдор", "Юлия", "Ольга", "Жанна", "Марьям", "Ёлка", "Ирина", "Тимур")


def company_row(company_id: int, salon: int, day: date) -> Row:
    opened = datetime.combine(day - timedelta(days=400), time(12))
    return {
        "company_id": company_id,
        "yclients_id": company_id,
        "title": f"Салон «Пример{salon + 1 if salon else ''}»",
        "address": "Москва, ул. Примерная, д. 1",
        "phone": phone(salon, -1),
        "email": "salon@example.com",
        "website": "https://example.com",
        "timezone": TIMEZONE,
        "working_hours": "10:00-22:00",
        "coordinate_lat": "55.6462230",
        "coordinate_lon": "38.0062870",
        "currency": "RUB",
        "ai_enabled": True,
        "created_at": opened,
        "updated_at": datetime.combine(day - timedelta(days=1), time(3, 10)),
        "raw_data": f'{{"id": {company_id}, "big": 12345678901234567890, "tiny": 0.0000001, "price": 1.10, '
        '"nested": {"а": [1, null, true, {"б": "ё\\"\\\\\\n"}]}, "schedule": "10:00-22:00"}',
        "whatsapp_enabled": True,
        "whatsapp_config": '{"mode": "auto", "retries": [1, 2.50, 5]}',
        "whatsapp_connected": True,
        "whatsapp_phone": phone(salon, -1),
        "whatsapp_connected_at": opened + timedelta(days=310, seconds=7, microseconds=500000),
        "whatsapp_session_data": "null",
        "integration_status": "active",
        "api_key": "made-up-api-key",
        "webhook_secret": "made-up-webhook-secret",
    }


def service_rows(rng: random.Random, company_id: int, count: int, day: date) -> Iterator[Row]:
    for number in range(count):
        category, title, price = _OFFERED[number % len(_OFFERED)]
        dearer = number // len(_OFFERED) * 150
        yield {
            "yclients_id": service_id(company_id, number),
            "company_id": company_id,
            "title": service_title(number),
            "category_id": 100 + list(_SERVICES).index(category),
            "category_title": category,
            "price_min": f"{price + dearer}.00",
            "price_max": f"{price + dearer + 500}.50" if number % 3 else None,
            "discount": "0.00" if number % 2 else None,
            "duration": rng.choice((1800, 2700, 3600, 5400)),
            "seance_length": 3600,
            "is_active": number % 13 != 12,
            "is_bookable": number % 7 != 6,
            "description": rng.choice(("", None, "Мытьё, стрижка, укладка ✂️", "Строка\nвторая")),
            "weight": rng.choice((10, 9, 8, 5, 5, 0, None)),
            "created_at": datetime.combine(day - timedelta(days=390), time(12)),
            "updated_at": datetime.combine(day - timedelta(days=1), time(3, 11)),
            "last_sync_at": datetime.combine(day - timedelta(days=1), time(3, 11)),
            "raw_data": f'{{"id": {service_id(company_id, number)}, "price": {price}.90, "vat": null}}',
            "declensions": json.dumps(
                {"nominative": title.lower(), "prepositional": f"на «{title.lower()}»"}, ensure_ascii=False
            ),
        }


def staff_rows(rng: random.Random, company_id: int, count: int, services: int, day: date) -> Iterator[Row]:
    for number in range(count):
        name = staff_name(number)
        offered = rng.sample(range(services), min(services, rng.randrange(3, 12)))
        yield {
            "yclients_id": staff_id(company_id, number),
            "company_id": company_id,
            "name": name,
            "specialization": rng.choice(("барбер", "парикмахер-стилист", "мастер маникюра", None)),
            "position": "топ-мастер" if number % 4 == 0 else "мастер",
            "is_active": number % 12 != 11,
            "rating": rng.choice(("4.50", "5.00", "4.87", None)),
            "votes_count": rng.randrange(200),
            "comments_count": rng.randrange(50),
            "information": rng.choice(("", None, "Стаж 7 лет, участник конкурсов 🏆")),
            "service_ids": sorted(service_id(company_id, service) for service in offered),
            "experience_years": rng.randrange(1, 20),
            "created_at": datetime.combine(day - timedelta(days=380), time(12)),
            "updated_at": datetime.combine(day - timedelta(days=1), time(3, 12)),
            "raw_data": f'{{"id": {staff_id(company_id, number)}, "rating": 4.50}}',
            "declensions": json.dumps({"nominative": name, "dative": f"к мастеру {name}"}, ensure_ascii=False),
        }


def schedule_rows(company_id: int, count: int, staff: int, day: date) -> Iterator[Row]:
    for number in range(count):
        member, ahead = number % staff, number // staff - 1
        works = (member + ahead) % 4 != 3
        late = works and member % 6 == 5
        yield {
            "staff_id": staff_id(company_id, member),
            "staff_name": staff_name(member),
            "date": day + timedelta(days=ahead),
            "is_working": works,
            "work_start": "10:00" if works else None,
            "work_end": None if not works else "24:00:00" if late else "21:30:00",
            "working_hours": None if not works else "10:00-24:00" if late else "10:00-21:30",
            "last_updated": datetime.combine(day - timedelta(days=1), time(3, 13)),
            "has_booking_slots": works,
        }


def service_title(number: int) -> str:
    """The title of a service, counted from 0."""
    length = number // len(_OFFERED)
    return _OFFERED[number % len(_OFFERED)][1] + (_LENGTHS[length] if length < len(_LENGTHS) else f" №{length}")


def staff_name(number: int) -> str:
    """The name of a member of staff, counted from 0."""
    again = number // len(_STAFF)
    return _STAFF[number % len(_STAFF)] + (f" {again + 1}" if again else "")
