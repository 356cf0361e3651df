""" "Now" at a salon: bookings hold its local time, without a zone."""

from datetime import datetime
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from app.errors import SettingsError


def local_now(now: datetime, timezone: str | None, default: str) -> tuple[datetime, bool]:
    """The local time without a zone.

    Args:
        now: aware.
        timezone: `companies.timezone`; None means the default.
        default: name of the zone to use instead.

    Returns:
        The time, and whether `timezone` is no known zone, so that the default was used.
    """
    zone = _zone(timezone) if timezone is not None else None
    local = now.astimezone(zone or ZoneInfo(default)).replace(tzinfo=None)
    return local, timezone is not None and zone is None


def _zone(name: str) -> ZoneInfo | None:
    return ZoneInfo(name) if name in _known() else None


@cache
def _known() -> set[str]:
    return available_timezones() - {"localtime"}  # the host's own zone, whatever that is


def require_timezone(name: str) -> None:
    """SettingsError unless DEFAULT_TIMEZONE is a time zone."""
    if _zone(name) is None:
        raise SettingsError(f"DEFAULT_TIMEZONE is {name!r}, which is no time zone; an example is Europe/Moscow")
