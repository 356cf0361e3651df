"""The object that the bot talks to: 21 asynchronous methods over one of the stores."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from app.common.background import end_all
from app.common.metrics import Metrics
from app.data_layer.executor import Clock, Executor, logger
from app.data_layer.result import Result
from app.stores.backend import Backend, Upcoming

if TYPE_CHECKING:
    from app import models
    from app.settings import Settings
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
    from app.stores.outgoing_write import OutgoingWrite


class Health(NamedTuple):
    """The answer of `health_check`: seconds until the store answered, and the limit for that in seconds."""

    healthy: bool
    response_time: float
    limit: float


def utc_now() -> datetime:
    """The current time, aware UTC."""
    return datetime.now(UTC)


class DataLayer:
    """The bot's data, behind 21 methods that answer alike whichever store is below.

    Every method answers with a `Result` and raises only for programming errors, such as a call after `close()`. The
    error codes are those of `app.errors`. Ids are positive integers, as int or in a string. A limit is brought into
    1..max_limit and is default_limit (100) when None. Text is ordered by code point, NULL last, and the primary key
    settles what is left.

    Made by `open_data_layer()`.

    Attributes:
        metrics: what it counted and timed so far.
    """

    def __init__(
        self, backend: Backend, settings: Settings, *, clock: Clock = utc_now, metrics: Metrics | None = None
    ) -> None:
        from app import models  # heavy, and not needed before the first data layer is made
        from app.data_layer.validation import Checks

        self._backend = backend
        self._settings = settings
        self._clock = clock
        self._models = models
        self._check = Checks(settings)
        self.metrics = metrics or Metrics()
        self._calls = Executor(
            clock, timeout=settings.query_timeout, log=settings.log_database_calls, metrics=self.metrics
        )

    async def close(self) -> None:
        """End what still runs and close every connection. May be called twice."""
        await end_all(self._calls.close, self._backend.close)

    async def get_dialog_context(self, user_id: str) -> Result[DialogContextRow | None]:
        """The conversation with one person; `user_id` is taken as it is."""
        return await self._read("get_dialog_context", user_id=user_id)

    async def upsert_dialog_context(self, context: Values) -> Result[DialogContextRow]:
        """Write the given columns of a conversation, by `user_id`; sets `last_activity` and `updated_at`."""
        return await self._write_one(
            "upsert_dialog_context", self._models.DialogContext, context, "last_activity", "updated_at"
        )

    async def get_client_by_phone(
        self, phone: str | int, company_id: int | str | None = None
    ) -> Result[ClientRow | None]:
        """The client with a phone, written in any way; `invalid_phone` when it cannot be one.

        `ambiguous` when several clients share it, of one company or of several.
        """
        return await self._read("get_client_by_phone", phone=phone, company_id=company_id)

    async def get_client_by_id(
        self, yclients_id: int | str, company_id: int | str | None = None
    ) -> Result[ClientRow | None]:
        """The client with an id of YCLIENTS; `ambiguous` when clients of several companies have it."""
        return await self._read("get_client_by_id", yclients_id=yclients_id, company_id=company_id)

    async def get_client_appointments(
        self,
        client_id: int | str,
        *,
        company_id: int | str | None = None,
        limit: int | None = None,
        order_by: str = "datetime",
        descending: bool = True,
    ) -> Result[list[BookingRow]]:
        """Bookings of the client with this id of YCLIENTS, by `datetime`, `created_at` or `cost`, NULL last."""
        return await self._read(
            "get_client_appointments",
            client_id=client_id,
            company_id=company_id,
            limit=limit,
            order_by=order_by,
            descending=descending,
        )

    async def get_upcoming_appointments(self, client_id: int | str, company_id: int | str) -> Result[list[BookingRow]]:
        """Bookings from now on, at most ten, the earliest first, without those `cancelled` or `deleted`.

        "Now" is the time in `companies.timezone`; where that is no known zone, in DEFAULT_TIMEZONE, and the metadata
        has a `warning`.
        """
        method = "get_upcoming_appointments"
        metadata: dict[str, Any] = {}

        async def call() -> list[BookingRow]:
            arguments = self._check.arguments(method, {"company_id": company_id, "client_id": client_id})
            found: Upcoming = await self._backend.read(method, {**arguments, "now": self._clock()})
            if found.unknown_timezone:
                metadata["warning"] = (
                    f"the time zone of company {arguments['company_id']} is not known; "
                    f"{self._settings.default_timezone} is used"
                )
                logger.warning("%s: %s", method, metadata["warning"])
            return found.bookings

        return await self._calls.read(method, call, metadata=metadata)

    async def search_clients_by_name(
        self, company_id: int | str, name: str, limit: int | None = None
    ) -> Result[list[ClientSummary]]:
        """Clients whose name contains `name`, in whatever case: the latest visit first, then the most visits.

        No character of `name` has a special meaning.
        """
        return await self._read("search_clients_by_name", company_id=company_id, pattern=name, limit=limit)

    async def upsert_client(self, client: Values) -> Result[ClientRow]:
        """Write the given columns of a client, by (`yclients_id`, `company_id`).

        Needs `name` and `phone` too; trims the name, normalizes the phone, sets `updated_at`.
        """
        return await self._write_one("upsert_client", self._models.Client, client, "updated_at")

    async def upsert_clients(self, clients: Sequence[Values]) -> Result[list[ClientRow]]:
        """As `upsert_client`, 1 to max_batch_size rows, all or none; the stored rows in the order given."""
        return await self._write_batch("upsert_clients", self._models.Client, clients, "updated_at")

    async def get_staff_by_id(self, staff_id: int | str, company_id: int | str) -> Result[StaffRow | None]:
        """The member of a company's staff with an id of YCLIENTS."""
        return await self._read("get_staff_by_id", staff_id=staff_id, company_id=company_id)

    async def get_staff_schedules(
        self,
        company_id: int | str,
        *,
        staff_id: int | str | None = None,
        staff_name: str | None = None,
        date_from: date | str | None = None,
        date_to: date | str | None = None,
        is_working: bool | None = None,
        limit: int | None = None,
    ) -> Result[list[StaffScheduleRow]]:
        """The schedules of a company's staff, by date and staff name; both dates are included."""
        return await self._read(
            "get_staff_schedules",
            company_id=company_id,
            limit=limit,
            staff_id=staff_id,
            staff_name=staff_name,
            date_from=date_from,
            date_to=date_to,
            is_working=is_working,
        )

    async def get_staff_schedule(
        self, staff_id: int | str, date: date | str, company_id: int | str | None = None
    ) -> Result[StaffScheduleRow | None]:
        """The schedule of one member of staff on one day (a `date` or `YYYY-MM-DD`).

        With `company_id`, only if he or she is of that company's staff.
        """
        return await self._read("get_staff_schedule", staff_id=staff_id, day=date, company_id=company_id)

    async def upsert_staff_schedules(self, schedules: Sequence[Values]) -> Result[list[StaffScheduleRow]]:
        """Write the given columns of schedules, by (`staff_id`, `date`), as `upsert_clients` does.

        Needs `staff_name` too; sets `last_updated`.
        """
        return await self._write_batch("upsert_staff_schedules", self._models.StaffSchedule, schedules, "last_updated")

    async def get_services(self, company_id: int | str, include_inactive: bool = False) -> Result[list[ServiceRow]]:
        """A company's services, the heaviest `weight` first, then by title; the active ones unless asked."""
        return await self._read("get_services", company_id=company_id, include_inactive=include_inactive)

    async def get_staff(self, company_id: int | str, include_inactive: bool = False) -> Result[list[StaffRow]]:
        """A company's staff by name; the active ones unless asked."""
        return await self._read("get_staff", company_id=company_id, include_inactive=include_inactive)

    async def get_service_by_id(
        self, yclients_id: int | str, company_id: int | str | None = None
    ) -> Result[ServiceRow | None]:
        """The service with an id of YCLIENTS; `ambiguous` when services of several companies have it."""
        return await self._read("get_service_by_id", yclients_id=yclients_id, company_id=company_id)

    async def get_services_by_category(self, company_id: int | str, category_id: int | str) -> Result[list[ServiceRow]]:
        """The active services of a category, ordered as those of `get_services`."""
        return await self._read("get_services_by_category", company_id=company_id, category_id=category_id)

    async def upsert_services(self, services: Sequence[Values]) -> Result[list[ServiceRow]]:
        """Write the given columns of services, by (`yclients_id`, `company_id`), as `upsert_clients` does.

        Needs `title` too; trims it; sets `updated_at` and `last_sync_at`.
        """
        return await self._write_batch("upsert_services", self._models.Service, services, "updated_at", "last_sync_at")

    async def get_company(self, company_id: int | str) -> Result[CompanyRow | None]:
        """The company with a `company_id`."""
        return await self._read("get_company", company_id=company_id)

    async def upsert_company(self, company: Values) -> Result[CompanyRow]:
        """Write the given columns of a company, by `company_id`; needs `title`, trims it, sets `updated_at`."""
        return await self._write_one("upsert_company", self._models.Company, company, "updated_at")

    async def health_check(self) -> Result[Health]:
        """One tiny read of `companies`, answered within health_check_timeout even when the store hangs.

        When the store is not healthy the answer is an error, and its metadata have the same fields.
        """
        limit = self._settings.health_check_timeout
        started = time.perf_counter()
        metadata: dict[str, Any] = {}

        async def call() -> Health:
            await self._backend.ping()
            return Health(healthy=True, response_time=time.perf_counter() - started, limit=limit)

        result = await self._calls.read("health_check", call, metadata=metadata, timeout=limit)
        if result.success:
            return result
        health = Health(healthy=False, response_time=time.perf_counter() - started, limit=limit)
        return replace(result, metadata={**result.metadata, **health._asdict()})

    async def _read(self, method: str, **arguments: object) -> Result[Any]:
        return await self._calls.read(
            method, lambda: self._backend.read(method, self._check.arguments(method, arguments))
        )

    async def _write_one(self, operation: str, model: type[models.Base], row: Values, *stamped: str) -> Result[Any]:
        async def call(write: OutgoingWrite) -> Any:
            values = self._check.row(model, row, self._stamps(stamped))
            return (await self._backend.upsert(model, [values], write))[0]

        return await self._calls.write(operation, call)

    async def _write_batch(
        self, operation: str, model: type[models.Base], rows: Sequence[Values], *stamped: str
    ) -> Result[Any]:
        metadata: dict[str, Any] = {}

        async def call(write: OutgoingWrite) -> list[Any]:
            values = self._check.batch(model, rows, self._stamps(stamped))
            metadata["input_count"] = len(values)
            stored = await self._backend.upsert(model, values, write)
            metadata["processed_count"] = len(stored)
            return stored

        return await self._calls.write(operation, call, metadata=metadata)

    def _stamps(self, columns: Sequence[str]) -> dict[str, object]:
        """The columns that say when a row was written: UTC without a zone."""
        now = self._clock().astimezone(UTC).replace(tzinfo=None)
        return dict.fromkeys(columns, now)
