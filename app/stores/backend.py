"""The protocol of a backend: what the data layer asks of either store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from app.models import Base
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


class Upcoming(NamedTuple):
    """Bookings to come, and whether the company's time zone was unknown and the default one used."""

    bookings: list[BookingRow]
    unknown_timezone: bool


class Backend(Protocol):
    """What the data layer asks. Arguments are valid and canonical; rows are those of `app.stores.codec.rows`.

    Every method raises `app.errors.DataError` kinds and nothing else that comes from outside the program.
    """

    async def read(self, method: str, arguments: Mapping[str, Any]) -> Any:
        """What a reading method of `StoreBackend` answers."""
        ...

    async def upsert(self, model: type[Base], rows: Sequence[Values], write: OutgoingWrite) -> list[Any]:
        """Write the given columns of each row by the model's natural key, all rows or none.

        Args:
            write: told when it leaves.

        Returns:
            The whole stored rows, in the order given.
        """
        ...

    async def ping(self) -> None:
        """One tiny read of `companies`."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


class StoreBackend(Backend, Protocol):
    """One of the stores.

    One row that is looked for is None when there is none, and AmbiguousError when there are several. The orders of
    lists and the meaning of each argument are those of the method of the same name in `DataLayer`.
    """

    async def read(self, method: str, arguments: Mapping[str, Any]) -> Any:
        return await getattr(self, method)(**arguments)

    async def get_dialog_context(self, user_id: str) -> DialogContextRow | None: ...

    async def get_client_by_phone(self, phone: str, company_id: int | None) -> ClientRow | None: ...

    async def get_client_by_id(self, yclients_id: int, company_id: int | None) -> ClientRow | None: ...

    async def get_client_appointments(
        self, client_id: int, *, company_id: int | None, limit: int, order_by: str, descending: bool
    ) -> list[BookingRow]: ...

    async def get_upcoming_appointments(self, client_id: int, company_id: int, now: datetime) -> Upcoming:
        """`now` is aware UTC."""
        ...

    async def search_clients_by_name(self, company_id: int, pattern: str, limit: int) -> list[ClientSummary]:
        """`pattern` is a regular expression, from app.data_layer.name_search."""
        ...

    async def get_staff_by_id(self, staff_id: int, company_id: int) -> StaffRow | None: ...

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
    ) -> list[StaffScheduleRow]: ...

    async def get_staff_schedule(
        self, staff_id: int, day: date, company_id: int | None = None
    ) -> StaffScheduleRow | None: ...

    async def get_services(self, company_id: int, *, include_inactive: bool) -> list[ServiceRow]: ...

    async def get_staff(self, company_id: int, *, include_inactive: bool) -> list[StaffRow]: ...

    async def get_service_by_id(self, yclients_id: int, company_id: int | None) -> ServiceRow | None: ...

    async def get_services_by_category(self, company_id: int, category_id: int) -> list[ServiceRow]: ...

    async def get_company(self, company_id: int) -> CompanyRow | None: ...
