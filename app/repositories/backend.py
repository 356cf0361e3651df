"""The repository backend: the bot's own PostgreSQL."""

from collections.abc import Sequence
from contextlib import nullcontext
from datetime import date, datetime, timedelta
from typing import Any

from app import models
from app.common.background import end_all
from app.errors import StoreTimeoutError, UnrepresentableValueError
from app.repositories import (
    BookingRepository,
    ClientRepository,
    CompanyRepository,
    DialogContextRepository,
    ServiceRepository,
    StaffRepository,
    StaffScheduleRepository,
    UnitOfWork,
)
from app.stores.backend import StoreBackend, Upcoming
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
from app.stores.postgres.database import Database
from app.stores.reads import UPCOMING_AT_MOST
from app.stores.standbys.read_router import ReadRouter

_REPEATS = 2
_ROLLED_BACK_BY_OTHERS = {"40001", "40P01"}
_LONGEST_UTC_OFFSET = timedelta(hours=24)


class RepositoryBackend(StoreBackend):
    """Reads are one statement in autocommit, writes one unit of work. See `Backend` for the methods.

    Args:
        router: where reads go; None: to the database.
    """

    def __init__(self, database: Database, *, default_timezone: str, router: ReadRouter | None = None) -> None:
        self._database = database
        self._reads = router or database
        self.router = router
        self._default_timezone = default_timezone

    async def get_dialog_context(self, user_id: str) -> DialogContextRow | None:
        return await DialogContextRepository(self._reads).get(user_id)

    async def get_client_by_phone(self, phone: str, company_id: int | None) -> ClientRow | None:
        return await ClientRepository(self._reads).get_by_phone(phone, company_id)

    async def get_client_by_id(self, yclients_id: int, company_id: int | None) -> ClientRow | None:
        return await ClientRepository(self._reads).get_by_yclients_id(yclients_id, company_id)

    async def get_client_appointments(
        self, client_id: int, *, company_id: int | None, limit: int, order_by: str, descending: bool
    ) -> list[BookingRow]:
        return await BookingRepository(self._reads).list_of_client(
            client_id, company_id=company_id, order_by=order_by, descending=descending, limit=limit
        )

    async def get_upcoming_appointments(self, client_id: int, company_id: int, now: datetime) -> Upcoming:
        # The zone comes with the bookings, in one round trip: first those that could be to come in any zone.
        since = now.replace(tzinfo=None) - _LONGEST_UTC_OFFSET
        bookings = BookingRepository(self._reads)
        try:
            found = await bookings.list_active_since(client_id, company_id, since)
        except UnrepresentableValueError:
            # Perhaps in a booking that is not to be returned: only those that are, in two more round trips.
            zone = await CompanyRepository(self._reads).timezone(company_id)
            here, unknown = local_now(now, zone, self._default_timezone)
            found = await bookings.list_active_since(client_id, company_id, here, limit=UPCOMING_AT_MOST)
            return Upcoming(found.bookings, unknown)
        here, unknown = local_now(now, found.timezone, self._default_timezone)
        to_come = [booking for booking in found.bookings if booking.datetime >= here]
        return Upcoming(to_come[:UPCOMING_AT_MOST], unknown)

    async def search_clients_by_name(self, company_id: int, pattern: str, limit: int) -> list[ClientSummary]:
        return await ClientRepository(self._reads).search_by_name(company_id, pattern, limit)

    async def get_staff_by_id(self, staff_id: int, company_id: int) -> StaffRow | None:
        return await StaffRepository(self._reads).get_by_yclients_id(staff_id, company_id)

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
        return await StaffScheduleRepository(self._reads).list_of_company(
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
        return await StaffScheduleRepository(self._reads).get(staff_id, day, company_id)

    async def get_services(self, company_id: int, *, include_inactive: bool) -> list[ServiceRow]:
        return await ServiceRepository(self._reads).list_of_company(company_id, include_inactive=include_inactive)

    async def get_staff(self, company_id: int, *, include_inactive: bool) -> list[StaffRow]:
        return await StaffRepository(self._reads).list_of_company(company_id, include_inactive=include_inactive)

    async def get_service_by_id(self, yclients_id: int, company_id: int | None) -> ServiceRow | None:
        return await ServiceRepository(self._reads).get_by_yclients_id(yclients_id, company_id)

    async def get_services_by_category(self, company_id: int, category_id: int) -> list[ServiceRow]:
        return await ServiceRepository(self._reads).list_of_category(company_id, category_id)

    async def get_company(self, company_id: int) -> CompanyRow | None:
        return await CompanyRepository(self._reads).get(company_id)

    async def upsert(self, model: type[models.Base], rows: Sequence[Values], write: OutgoingWrite) -> list[Any]:
        with self.router.writing(write) if self.router else nullcontext():
            return await self._upsert(model, rows, write)

    async def _upsert(self, model: type[models.Base], rows: Sequence[Values], write: OutgoingWrite) -> list[Any]:
        # Mixed batches at once, of several statements each, can want each other's rows; PostgreSQL rolls one back.
        for _ in range(_REPEATS):
            try:
                return await self._upsert_once(model, rows, write)
            except StoreTimeoutError as error:
                if error.sqlstate not in _ROLLED_BACK_BY_OTHERS:
                    raise
        return await self._upsert_once(model, rows, write)

    async def _upsert_once(self, model: type[models.Base], rows: Sequence[Values], write: OutgoingWrite) -> list[Any]:
        async with UnitOfWork(self._database) as work:
            write.leave()
            try:
                stored = await work.upsert(model, rows)
            except UnrepresentableValueError:
                await work.commit()  # written, though the rows cannot be returned
                raise
            await work.commit()
            return stored

    async def ping(self) -> None:
        await CompanyRepository(self._database).ping()

    async def close(self) -> None:
        router = [self.router.close] if self.router else []
        await end_all(*router, self._database.close)
