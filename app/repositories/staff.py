"""Staff, and their working days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from sqlalchemy import select

from app.models import Staff, StaffSchedule
from app.repositories.base import Repository, by_code_point
from app.rows import StaffRow, StaffScheduleRow, table_of

_STAFF = table_of(Staff)
_SCHEDULES = table_of(StaffSchedule)
_ALL_STAFF = select(*_STAFF.c)
_ALL_SCHEDULES = select(*_SCHEDULES.c)


class StaffRepository(Repository[StaffRow]):
    """The table `staff`."""

    model = Staff
    row = StaffRow

    async def get_by_yclients_id(self, yclients_id: int, company_id: int) -> StaffRow | None:
        """The member of a company's staff with an id of YCLIENTS."""
        message = "several members of staff have this id"
        return await self._one(message, yclients_id=yclients_id, company_id=company_id)

    async def list_of_company(self, company_id: int, *, include_inactive: bool = False) -> list[StaffRow]:
        """The staff of a company by name and id, the active ones unless asked."""
        statement = _ALL_STAFF.where(_STAFF.c.company_id == company_id)
        if not include_inactive:
            statement = statement.where(_STAFF.c.is_active.is_(True))
        return await self._rows(statement.order_by(by_code_point(_STAFF.c.name), _STAFF.c.id))

    async def upsert(self, rows: Sequence[Mapping[str, Any]]) -> list[StaffRow]:
        """Write staff by (yclients_id, company_id): the given columns of each; the stored rows in that order."""
        return await self._upsert(rows)


class StaffScheduleRepository(Repository[StaffScheduleRow]):
    """The table `staff_schedules`, which has no company: a schedule is of the company of its member of staff."""

    model = StaffSchedule
    row = StaffScheduleRow

    async def get(self, staff_id: int, day: date, company_id: int | None = None) -> StaffScheduleRow | None:
        """Of one member of staff (`staff.yclients_id`) on one day; only of that company, if one is given."""
        statement = _ALL_SCHEDULES.where(_SCHEDULES.c.staff_id == staff_id, _SCHEDULES.c.date == day)
        if company_id is not None:
            statement = statement.where(_of_company(company_id))
        rows = await self._rows(statement)  # one at most: (staff_id, date) is unique
        return rows[0] if rows else None

    async def list_of_company(
        self,
        company_id: int,
        *,
        limit: int,
        staff_id: int | None = None,
        staff_name: str | None = None,
        date_from: date | None = None,
        date_to: date | None = None,
        is_working: bool | None = None,
    ) -> list[StaffScheduleRow]:
        """The schedules of a company's staff by date, staff name (NULL last) and id; both dates are included."""
        schedule = _SCHEDULES.c
        statement = _ALL_SCHEDULES.where(_of_company(company_id))
        if staff_id is not None:
            statement = statement.where(schedule.staff_id == staff_id)
        if staff_name is not None:
            statement = statement.where(schedule.staff_name == staff_name)
        if date_from is not None:
            statement = statement.where(schedule.date >= date_from)
        if date_to is not None:
            statement = statement.where(schedule.date <= date_to)
        if is_working is not None:
            statement = statement.where(schedule.is_working.is_(is_working))
        return await self._rows(
            statement.order_by(schedule.date, by_code_point(schedule.staff_name), schedule.id).limit(limit)
        )

    async def upsert(self, rows: Sequence[Mapping[str, Any]]) -> list[StaffScheduleRow]:
        """Write schedules by (staff_id, date): the given columns of each; the stored rows in that order."""
        return await self._upsert(rows)


def _of_company(company_id: int) -> Any:
    return _SCHEDULES.c.staff_id.in_(select(_STAFF.c.yclients_id).where(_STAFF.c.company_id == company_id))
