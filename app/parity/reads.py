"""The calls of the reading methods, built from samples."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from app import models
from app.parity.samples import Samples


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a method of the data layer."""

    method: str
    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


def reading_calls(samples: Samples) -> Iterator[Call]:
    """Calls of all 15 reading methods: what is there, what is not, and the edges of the arguments."""
    yield Call("health_check")
    yield from _companies(samples)
    yield from _clients(samples)
    yield from _searches(samples)
    yield from _appointments(samples)
    yield from _staff(samples)
    yield from _services(samples)
    for user_id in [*samples.values(models.DialogContext, "user_id"), "nobody", ""]:
        yield Call("get_dialog_context", (user_id,))


def _companies(samples: Samples) -> Iterator[Call]:
    for company_id in [*samples.values(models.Company, "company_id"), 1, "1", 0, None]:
        yield Call("get_company", (company_id,))


def _clients(samples: Samples) -> Iterator[Call]:
    for client in samples.of(models.Client, "company_id"):
        phone, company_id = client["phone"], client["company_id"]
        yield Call("get_client_by_phone", (phone,))
        yield Call("get_client_by_phone", (f"+{phone}", company_id))
        yield Call("get_client_by_id", (client["yclients_id"],))
        yield Call("get_client_by_id", (client["yclients_id"], company_id))
    yield Call("get_client_by_phone", ("no phone",))
    yield Call("get_client_by_id", (-1,))


def _searches(samples: Samples) -> Iterator[Call]:
    for client in samples.of(models.Client, "company_id", "name"):
        company_id, words = client["company_id"], client["name"].split()
        if words:
            yield Call("search_clients_by_name", (company_id, words[0].upper()))
            yield Call("search_clients_by_name", (company_id, words[-1][:3].lower()), {"limit": 5})
    for company_id in samples.values(models.Company, "company_id"):
        for text in ("%", "_", "\\", "*", "а", " "):
            yield Call("search_clients_by_name", (company_id, text), {"limit": 1000})


def _appointments(samples: Samples) -> Iterator[Call]:
    for booking in samples.of(models.Booking, "client_yclients_id", "company_id"):
        client_id, company_id = booking["client_yclients_id"], booking["company_id"]
        yield Call("get_client_appointments", (client_id,))
        yield Call("get_client_appointments", (client_id,), {"company_id": company_id, "limit": 2})
        for order_by in ("created_at", "cost"):
            yield Call("get_client_appointments", (client_id,), {"order_by": order_by, "descending": False})
        yield Call("get_upcoming_appointments", (client_id, company_id))
    yield Call("get_client_appointments", (1,), {"order_by": "comment"})
    yield Call("get_upcoming_appointments", (1, 1))


def _staff(samples: Samples) -> Iterator[Call]:
    for member in samples.of(models.Staff, "company_id"):
        yield Call("get_staff_by_id", (member["yclients_id"], member["company_id"]))
    schedules = samples.of(models.StaffSchedule)
    for company_id in [*samples.values(models.Company, "company_id"), 1]:
        yield Call("get_staff", (company_id,))
        yield Call("get_staff", (company_id,), {"include_inactive": True})
        yield Call("get_staff_schedules", (company_id,))
        yield Call("get_staff_schedules", (company_id,), {"is_working": True, "limit": 7})
        for schedule in schedules:
            day = schedule["date"]
            filters = {"staff_id": schedule["staff_id"], "date_from": day, "date_to": day + timedelta(days=7)}
            yield Call("get_staff_schedules", (company_id,), filters)
            if schedule["staff_name"]:
                yield Call("get_staff_schedules", (company_id,), {"staff_name": schedule["staff_name"]})
            yield Call("get_staff_schedule", (schedule["staff_id"], day, company_id))
    for schedule in schedules:
        yield Call("get_staff_schedule", (schedule["staff_id"], schedule["date"].isoformat()))
    yield Call("get_staff_by_id", (1, 1))
    yield Call("get_staff_schedule", (1, "2026-02-30"))


def _services(samples: Samples) -> Iterator[Call]:
    for company_id in [*samples.values(models.Company, "company_id"), 1]:
        yield Call("get_services", (company_id,))
        yield Call("get_services", (company_id,), {"include_inactive": True})
    for service in samples.of(models.Service, "company_id"):
        yield Call("get_service_by_id", (service["yclients_id"],))
        yield Call("get_service_by_id", (service["yclients_id"], service["company_id"]))
        if service["category_id"] is not None:
            yield Call("get_services_by_category", (service["company_id"], service["category_id"]))
    yield Call("get_service_by_id", ("x",))
    yield Call("get_services_by_category", (1, 1))
