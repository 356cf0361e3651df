"""Bookings: the clients' visits."""

from datetime import datetime
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

from sqlalchemy import Select, and_, or_, select

from app.models import Booking, Company
from app.repositories.base import LIMIT, Repository, given, parameter
from app.stores.codec.rows import BookingRow, table_of

_BOOKINGS = table_of(Booking)
_COMPANIES = table_of(Company)


class BookingsAndZone(NamedTuple):
    """Bookings of one company, with its `companies.timezone`."""

    bookings: list[BookingRow]
    timezone: str | None


class BookingRepository(Repository[BookingRow]):
    """The table `bookings`."""

    model = Booking
    row: ClassVar[Any] = BookingRow

    async def list_of_client(
        self, client_yclients_id: int, *, company_id: int | None, order_by: str, descending: bool, limit: int
    ) -> list[BookingRow]:
        """A client's bookings in the order of a column, NULL last either way, then by id."""
        statement = _of_client(order_by, descending=descending, of_company=company_id is not None)
        values = {"client_yclients_id": client_yclients_id, "limit": limit, **given(company_id=company_id)}
        return await self._rows(statement, values)

    async def list_active_since(
        self, client_yclients_id: int, company_id: int, since: datetime, *, limit: int | None = None
    ) -> BookingsAndZone:
        """A client's bookings at one company from a local time on, the earliest first, and the company's time zone.

        `cancelled` and `deleted` are left out; a NULL status counts as active.
        """
        values = {"client_yclients_id": client_yclients_id, "company_id": company_id, "datetime": since, "limit": limit}
        rows: list[Any] = await self._rows(_ACTIVE_SINCE, values, tuple)
        return BookingsAndZone([self.row._make(row[:-1]) for row in rows if row[0] is not None], rows[0][-1])


@lru_cache
def _of_client(order_by: str, *, descending: bool, of_company: bool) -> Select[Any]:
    key = _BOOKINGS.c[order_by]
    statement = select(*_BOOKINGS.c).where(_BOOKINGS.c.client_yclients_id == parameter(_BOOKINGS.c.client_yclients_id))
    if of_company:
        statement = statement.where(_BOOKINGS.c.company_id == parameter(_BOOKINGS.c.company_id))
    return statement.order_by((key.desc() if descending else key.asc()).nulls_last(), _BOOKINGS.c.id).limit(LIMIT)


def _active_since() -> Select[Any]:
    booking = _BOOKINGS.c
    company_id = parameter(booking.company_id)
    zone = select(_COMPANIES.c.timezone).where(_COMPANIES.c.company_id == company_id).scalar_subquery()
    company = select(zone.label("timezone")).subquery("company")  # always one row
    wanted = and_(
        booking.client_yclients_id == parameter(booking.client_yclients_id),
        booking.company_id == company_id,
        booking.datetime >= parameter(booking.datetime),
        or_(booking.status.is_(None), and_(booking.status != "cancelled", booking.status != "deleted")),
    )
    return (
        select(*booking, company.c.timezone)
        .select_from(company.outerjoin(_BOOKINGS, wanted))
        .order_by(booking.datetime, booking.id)
        .limit(LIMIT)
    )


_ACTIVE_SINCE = _active_since()
