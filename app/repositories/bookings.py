"""Bookings: the clients' visits."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, NamedTuple

from sqlalchemy import and_, or_, select

from app.models import Booking, Company
from app.repositories.base import Repository
from app.rows import BookingRow, table_of

_BOOKINGS = table_of(Booking)
_COMPANIES = table_of(Company)
_ALL = select(*_BOOKINGS.c)


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
        key = _BOOKINGS.c[order_by]
        statement = _ALL.where(_BOOKINGS.c.client_yclients_id == client_yclients_id)
        if company_id is not None:
            statement = statement.where(_BOOKINGS.c.company_id == company_id)
        return await self._rows(
            statement.order_by((key.desc() if descending else key.asc()).nulls_last(), _BOOKINGS.c.id).limit(limit)
        )

    async def list_active_since(
        self, client_yclients_id: int, company_id: int, since: datetime, *, limit: int | None = None
    ) -> BookingsAndZone:
        """A client's bookings at one company from a local time on, the earliest first, and the company's time zone.

        `cancelled` and `deleted` are left out; a NULL status counts as active.
        """
        zone = select(_COMPANIES.c.timezone).where(_COMPANIES.c.company_id == company_id).scalar_subquery()
        company = select(zone.label("timezone")).subquery("company")  # always one row
        booking = _BOOKINGS.c
        wanted = and_(
            booking.client_yclients_id == client_yclients_id,
            booking.company_id == company_id,
            booking.datetime >= since,
            or_(booking.status.is_(None), booking.status.not_in(["cancelled", "deleted"])),
        )
        statement = (
            select(*booking, company.c.timezone)
            .select_from(company.outerjoin(_BOOKINGS, wanted))
            .order_by(booking.datetime, booking.id)
            .limit(limit)
        )
        rows: list[Any] = await self._rows(statement, tuple)
        return BookingsAndZone([self.row._make(row[:-1]) for row in rows if row[0] is not None], rows[0][-1])
