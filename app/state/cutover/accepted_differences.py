"""Table `accepted_differences`: fields whose confirmed differences the owner knows, up to a day.

What is accepted are the places that the field was seen in: a place is the field, a blank, and the types of its two
values in brackets. So a value that is missing is still counted where only its digits were known to differ.
"""

from dataclasses import dataclass
from datetime import date, datetime

from app.cutover.stages import Stage
from app.state.cutover.moves import who
from app.state.fetching import Connection, fetch_column, fetch_each, fetch_rows
from app.state.schema_name import SCHEMA

TODAY = "(clock_timestamp() AT TIME ZONE 'UTC')::date"
_FIELD = "split_part(place, ' (', 1)"
_READ = f"SELECT method, field, places, until, reason, accepted_by, accepted_at, until < {TODAY} "
_SEEN = f"FROM {SCHEMA}.differences, unnest(places) place WHERE NOT against_itself"


@dataclass(frozen=True, slots=True)
class AcceptedDifference:
    """One field of the answers of one method.

    Attributes:
        places: the field with the types of values that it was seen to differ in.
        until: the last day, in UTC, on which no gate counts it.
        accepted_by: account and machine.
        ended: that day is over, and gates count it again.
    """

    method: str
    field: str
    places: list[str]
    until: date
    reason: str
    accepted_by: str
    accepted_at: datetime
    ended: bool

    @property
    def subject(self) -> str:
        """Method and field, as the command takes them."""
        return f"{self.method} {self.field}"


async def read_accepted(connection: Connection) -> tuple[AcceptedDifference, ...]:
    """All of them, those that have ended too, by method and field."""
    return tuple(
        await fetch_each(
            connection, AcceptedDifference, f"{_READ}FROM {SCHEMA}.accepted_differences ORDER BY method, field"
        )
    )


async def read_ended(
    connection: Connection, stage: Stage, method: str, seconds: float
) -> tuple[AcceptedDifference, ...]:
    """Those of a method that have ended, and whose differences came again at a stage in the last `seconds`."""
    return tuple(
        await fetch_each(
            connection,
            AcceptedDifference,
            f"{_READ}FROM {SCHEMA}.accepted_differences a WHERE method = %(method)s AND until < {TODAY} "
            f"AND EXISTS (SELECT FROM {SCHEMA}.differences d WHERE d.method = a.method AND d.stage = %(stage)s "
            "AND NOT d.against_itself AND d.places && a.places "
            "AND d.last_at > clock_timestamp() - make_interval(secs => %(seconds)s)) ORDER BY field",
            {"method": method, "stage": stage, "seconds": seconds},
        )
    )


async def seen_fields(connection: Connection, method: str | None = None) -> list[str]:
    """The fields of a method that were seen to differ; the methods of which one was, where none is named."""
    return await fetch_column(
        connection,
        f"SELECT DISTINCT {'method' if method is None else _FIELD} {_SEEN} "
        "AND method = coalesce(%(method)s::text, method) ORDER BY 1",
        {"method": method},
    )


async def accept(
    connection: Connection, method: str, field: str, *, reason: str, until: date
) -> AcceptedDifference | None:
    """Accept the places of a field, also instead of what was accepted of it before; None where it has none."""
    rows = await fetch_rows(
        connection,
        f"INSERT INTO {SCHEMA}.accepted_differences AS a (method, field, places, until, reason, accepted_by) "
        "SELECT %(method)s, %(field)s, array_agg(DISTINCT place ORDER BY place), %(until)s, %(reason)s, %(who)s "
        f"{_SEEN} AND method = %(method)s AND {_FIELD} = %(field)s HAVING count(*) > 0 "
        "ON CONFLICT (method, field) DO UPDATE SET places = excluded.places, until = excluded.until, "
        "reason = excluded.reason, accepted_by = excluded.accepted_by, accepted_at = clock_timestamp() "
        f"RETURNING a.method, a.field, a.places, a.until, a.reason, a.accepted_by, a.accepted_at, a.until < {TODAY}",
        {"method": method, "field": field, "reason": reason, "until": until, "who": who()},
    )
    return AcceptedDifference(*rows[0]) if rows else None


async def withdraw(connection: Connection, method: str, field: str) -> bool:
    """Accept a field no more; whether it was."""
    cursor = await connection.execute(
        f"DELETE FROM {SCHEMA}.accepted_differences WHERE method = %(method)s AND field = %(field)s",
        {"method": method, "field": field},
    )
    return cursor.rowcount == 1
