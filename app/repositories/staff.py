"""Staff, and their working days."""

from datetime import date
from functools import lru_cache
from typing import Any

from sqlalchemy import Select, bindparam, select

from app.models import Staff, StaffSchedule
from app.repositories.base import LIMIT, WritingRepository, by_code_point, given, parameter
from app.stores.codec.rows import StaffRow, StaffScheduleRow, table_of

_STAFF = table_of(Staff)
_SCHEDULES = table_of(StaffSchedule)
_ALL_STAFF = (
    select(*_STAFF.c)
    .where(_STAFF.c.company_id == parameter(_STAFF.c.company_id))
    .order_by(by_code_point(_STAFF.c.name), _STAFF.c.id)
)
_ACTIVE_STAFF = _ALL_STAFF.where(_STAFF.c.is_active.is_(True))
_OF_COMPANY = _SCHEDULES.c.staff_id.in_(
    select(_STAFF.c.yclients_id).where(_STAFF.c.company_id == parameter(_STAFF.c.company_id))
)
_FILTERS = {
    "company_id": _OF_COMPANY,
    "staff_id": _SCHEDULES.c.staff_id == parameter(_SCHEDULES.c.staff_id),
    "staff_name": _SCHEDULES.c.staff_name == parameter(_SCHEDULES.c.staff_name),
    "date": _SCHEDULES.c.date == parameter(_SCHEDULES.c.date),
    "date_from": _SCHEDULES.c.date >= bindparam("date_from", type_=_SCHEDULES.c.date.type),
    "date_to": _SCHEDULES.c.date <= bindparam("date_to", type_=_SCHEDULES.c.date.type),
    "is_working": _SCHEDULES.c.is_working == parameter(_SCHEDULES.c.is_working),
}


class StaffRepository(WritingRepository[StaffRow]):
    """The table `staff`."""

    model = Staff
    row = StaffRow

    async def get_by_yclients_id(self, yclients_id: int, company_id: int) -> StaffRow | None:
        """The member of a company's staff with an id of YCLIENTS."""
        message = "several members of staff have this id"
        return await self._one(message, yclients_id=yclients_id, company_id=company_id)

    async def list_of_company(self, company_id: int, *, include_inactive: bool = False) -> list[StaffRow]:
        """The staff of a company by name and id, the active ones unless asked."""
        return await self._rows(_ALL_STAFF if include_inactive else _ACTIVE_STAFF, {"company_id": company_id})


class StaffScheduleRepository(WritingRepository[StaffScheduleRow]):
    """The table `staff_schedules`, which has no company: a schedule is of the company of its member of staff."""

    model = StaffSchedule
    row = StaffScheduleRow

    async def get(self, staff_id: int, day: date, company_id: int | None = None) -> StaffScheduleRow | None:
        """Of one member of staff (`staff.yclients_id`) on one day; only of that company, if one is given."""
        filters = {"staff_id": staff_id, "date": day, **given(company_id=company_id)}
        rows = await self._rows(_schedules(tuple(filters)), filters)  # one at most: (staff_id, date) is unique
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
        filters = {
            "company_id": company_id,
            **given(
                staff_id=staff_id, staff_name=staff_name, date_from=date_from, date_to=date_to, is_working=is_working
            ),
        }
        return await self._rows(_listed_schedules(tuple(filters)), {**filters, "limit": limit})


@lru_cache
def _schedules(filters: tuple[str, ...]) -> Select[Any]:
    return select(*_SCHEDULES.c).where(*[_FILTERS[name] for name in filters])


@lru_cache
def _listed_schedules(filters: tuple[str, ...]) -> Select[Any]:
    schedule = _SCHEDULES.c
    return _schedules(filters).order_by(schedule.date, by_code_point(schedule.staff_name), schedule.id).limit(LIMIT)
