"""The Supabase backend: PostgREST, through the `supabase` client."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from app import models
from app.stores.backend import StoreBackend, Upcoming
from app.stores.codec import rows
from app.stores.codec.json_rows import Values
from app.stores.codec.rows import (
    BookingRow,
    ClientRow,
    ClientSummary,
    CompanyRow,
    DialogContextRow,
    ServiceRow,
    StaffRow,
    StaffScheduleRow,
)
from app.stores.company_time import local_now
from app.stores.outgoing_write import OutgoingWrite
from app.stores.reads import UPCOMING_AT_MOST
from app.stores.supabase import schedules as supabase_schedules
from app.stores.supabase.client import SupabaseRest
from app.stores.supabase.schedules import StaffId
from app.stores.supabase.table import SupabaseTable, equal
from app.stores.supabase.upsert import upsert


class CompanyZone(NamedTuple):
    """What "now" at a company needs."""

    id: int
    timezone: str | None


class SupabaseBackend(StoreBackend):
    """Lists without a limit are read whole and, where text is in their order, sorted here. See `Backend`."""

    def __init__(self, rest: SupabaseRest, *, default_timezone: str) -> None:
        self._rest = rest
        self._default_timezone = default_timezone
        self._bookings = SupabaseTable(rest, models.Booking, rows.BookingRow)
        self._clients = SupabaseTable(rest, models.Client, rows.ClientRow)
        self._companies = SupabaseTable(rest, models.Company, rows.CompanyRow)
        self._contexts = SupabaseTable(rest, models.DialogContext, rows.DialogContextRow)
        self._services = SupabaseTable(rest, models.Service, rows.ServiceRow)
        self._staff = SupabaseTable(rest, models.Staff, rows.StaffRow)
        self._schedules = SupabaseTable(rest, models.StaffSchedule, rows.StaffScheduleRow)
        self._summaries = SupabaseTable(rest, models.Client, rows.ClientSummary, rows.ClientSummary._fields)
        self._staff_ids = SupabaseTable(rest, models.Staff, StaffId, StaffId._fields)
        written = self._clients, self._companies, self._services, self._schedules, self._contexts
        self._written: dict[type[models.Base], SupabaseTable[Any]] = {table.model: table for table in written}
        self._zones = SupabaseTable(rest, models.Company, CompanyZone, CompanyZone._fields)

    async def get_dialog_context(self, user_id: str) -> DialogContextRow | None:
        return await self._contexts.one(equal(user_id=user_id), "several contexts have this user_id")

    async def get_client_by_phone(self, phone: str, company_id: int | None) -> ClientRow | None:
        return await self._clients.one(equal(phone=phone, company_id=company_id), "several clients have this phone")

    async def get_client_by_id(self, yclients_id: int, company_id: int | None) -> ClientRow | None:
        return await self._clients.one(
            equal(yclients_id=yclients_id, company_id=company_id), "clients of several companies have this id"
        )

    async def get_client_appointments(
        self, client_id: int, *, company_id: int | None, limit: int, order_by: str, descending: bool
    ) -> list[BookingRow]:
        return await self._bookings.first(
            equal(client_yclients_id=client_id, company_id=company_id), [(order_by, descending)], limit
        )

    async def get_upcoming_appointments(self, client_id: int, company_id: int, now: datetime) -> Upcoming:
        company = await self._zones.one(equal(company_id=company_id), "several companies have this id")
        here, unknown = local_now(now, company.timezone if company else None, self._default_timezone)
        matching = equal(client_yclients_id=client_id, company_id=company_id)
        bookings = await self._bookings.first(
            lambda builder: (
                matching(builder)
                .gte("datetime", here.isoformat())
                .or_("status.is.null,status.not.in.(cancelled,deleted)")
            ),
            [("datetime", False)],
            UPCOMING_AT_MOST,
        )
        return Upcoming(bookings, unknown)

    async def search_clients_by_name(self, company_id: int, pattern: str, limit: int) -> list[ClientSummary]:
        return await self._summaries.first(
            lambda builder: builder.eq("company_id", company_id).filter("name", "match", pattern),
            [("last_visit_date", True), ("visit_count", True)],
            limit,
        )

    async def get_staff_by_id(self, staff_id: int, company_id: int) -> StaffRow | None:
        return await self._staff.one(
            equal(yclients_id=staff_id, company_id=company_id), "several members of staff have this id"
        )

    async def get_staff_schedules(
        self,
        company_id: int,
        *,
        limit: int,
        staff_id: int | None,
        staff_name: str | None,
        date_from: date | None,
        date_to: date | None,
        is_working: bool | None,
    ) -> list[StaffScheduleRow]:
        return await supabase_schedules.list_of_company(
            self._staff_ids,
            self._schedules,
            company_id,
            limit=limit,
            staff_id=staff_id,
            staff_name=staff_name,
            date_from=date_from,
            date_to=date_to,
            is_working=is_working,
        )

    async def get_staff_schedule(
        self, staff_id: int, day: date, company_id: int | None = None
    ) -> StaffScheduleRow | None:
        if company_id is not None and not await supabase_schedules.staff_ids(self._staff_ids, company_id, staff_id):
            return None
        return await self._schedules.one(
            equal(staff_id=staff_id, date=day.isoformat()), "several schedules are of this day"
        )

    async def get_services(self, company_id: int, *, include_inactive: bool) -> list[ServiceRow]:
        active = None if include_inactive else True
        found = await self._services.whole(equal(company_id=company_id, is_active=active))
        return sorted(found, key=_by_weight_and_title)

    async def get_staff(self, company_id: int, *, include_inactive: bool) -> list[StaffRow]:
        active = None if include_inactive else True
        found = await self._staff.whole(equal(company_id=company_id, is_active=active))
        return sorted(found, key=lambda member: (member.name, member.id))

    async def get_service_by_id(self, yclients_id: int, company_id: int | None) -> ServiceRow | None:
        return await self._services.one(
            equal(yclients_id=yclients_id, company_id=company_id), "services of several companies have this id"
        )

    async def get_services_by_category(self, company_id: int, category_id: int) -> list[ServiceRow]:
        matching = equal(company_id=company_id, category_id=category_id, is_active=True)
        return sorted(await self._services.whole(matching), key=_by_weight_and_title)

    async def get_company(self, company_id: int) -> CompanyRow | None:
        return await self._companies.one(equal(company_id=company_id), "several companies have this id")

    async def upsert(self, model: type[models.Base], rows: Sequence[Values], write: OutgoingWrite) -> list[Any]:
        return await upsert(self._written[model], rows, write)

    async def ping(self) -> None:
        await self._rest.rows(self._rest.table("companies").select("id").limit(1))  # a page of a gateway's is no answer

    async def close(self) -> None:
        await self._rest.close()


def _by_weight_and_title(service: ServiceRow) -> tuple[Any, ...]:
    return (service.weight is None, -(service.weight or 0), service.title, service.id)
