"""Staff schedules behind PostgREST: `staff_schedules` has no company, so the company's staff is asked for first."""

from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple

from app.stores.codec.rows import StaffScheduleRow
from app.stores.supabase.grammar import key_parts
from app.stores.supabase.table import Narrow, Record, SupabaseTable, equal


class StaffId(NamedTuple):
    """What tells whose schedules are a company's."""

    id: int
    yclients_id: int


async def list_of_company(
    staff: SupabaseTable[StaffId],
    schedules: SupabaseTable[StaffScheduleRow],
    company_id: int,
    *,
    limit: int,
    staff_id: int | None,
    staff_name: str | None,
    date_from: date | None,
    date_to: date | None,
    is_working: bool | None,
) -> list[StaffScheduleRow]:
    """The schedules of a company's staff, by date, staff name (NULL last) and id; `staff` reads (id, yclients_id)."""
    matching = equal(staff_name=staff_name, is_working=is_working)

    def narrow(builder: Any) -> Any:
        builder = matching(builder)
        if date_from is not None:
            builder = builder.gte("date", date_from.isoformat())
        if date_to is not None:
            builder = builder.lte("date", date_to.isoformat())
        return builder

    found: list[Record] = []
    ids = [(str(number),) for number in await staff_ids(staff, company_id, staff_id)]
    for part in key_parts(ids, schedules.address_length(narrow)):

        def of_them(builder: Any, ids: Sequence[str] = [key[0] for key in part]) -> Any:
            return narrow(builder).in_("staff_id", ids)

        found += await _first_days(schedules, of_them, limit)
    return schedules.decoded(sorted(found, key=_by_day_and_name)[:limit])


async def staff_ids(staff: SupabaseTable[StaffId], company_id: int, staff_id: int | None = None) -> list[int]:
    """`staff.yclients_id` of a company's staff, or of one of them if he or she is of the company."""
    matching = equal(company_id=company_id, yclients_id=staff_id)
    return [member.yclients_id for member in await staff.whole(matching)]


async def _first_days(schedules: SupabaseTable[StaffScheduleRow], narrow: Narrow, limit: int) -> list[Record]:
    """At least the first `limit` schedules: the last day that the limit reaches is read whole.

    The server cannot be asked for an order by code point, so the names of a day are sorted here. As text, since a
    schedule that is not returned may hold what Python cannot.
    """
    found = await schedules.first_as_text(narrow, [("date", False)], limit + 1)
    if len(found) <= limit:
        return found
    last_day = found[limit - 1]["date"]
    if found[limit]["date"] == last_day:
        before = [schedule for schedule in found if schedule["date"] != last_day]
        return before + await schedules.whole_as_text(lambda builder: narrow(builder).eq("date", last_day))
    return found[:limit]


def _by_day_and_name(schedule: Record) -> tuple[Any, ...]:
    name = schedule["staff_name"]
    return (_sortable(str(schedule["date"])), name is None, name or "", int(str(schedule["id"])))


def _sortable(day: str) -> tuple[float, str]:
    """PostgreSQL's text of a date, `0044-03-15 BC` and `-infinity` too, in the order of dates."""
    if day.endswith("infinity"):
        return (float(day), "")
    year, _, month_and_day = day.partition("-")
    return (-int(year) if day.endswith("BC") else int(year), month_and_day)
