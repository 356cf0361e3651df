"""The object that the bot talks to: 21 asynchronous methods over one of the stores."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from app.data_layer.backend import Backend, Upcoming, Values
from app.data_layer.calls import Calls, Clock, logger
from app.data_layer.result import Result
from app.name_search import containing

if TYPE_CHECKING:
    from app.rows import (
        BookingRow,
        ClientRow,
        ClientSummary,
        CompanyRow,
        DialogContextRow,
        ServiceRow,
        StaffRow,
        StaffScheduleRow,
    )
    from app.settings import Settings


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
    """

    def __init__(self, backend: Backend, settings: Settings, *, clock: Clock = utc_now) -> None:
        from app import models  # heavy, and not needed before the first data layer is made
        from app.data_layer.checks import Checks

        self._backend = backend
        self._settings = settings
        self._clock = clock
        self._models = models
        self._check = Checks(settings)
        self._calls = Calls(clock, timeout=settings.query_timeout, log=settings.log_database_calls)

    async def close(self) -> None:
        """End what still runs and close every connection. May be called twice."""
        await self._calls.close()
        await self._backend.close()

    async def get_client_by_phone(
        self, phone: str | int, company_id: int | str | None = None
    ) -> Result[ClientRow | None]:
        """The client with a phone, written in any way; `invalid_phone` when it cannot be one.

        `ambiguous` when several clients share it, of one company or of several.
        """
        check = self._check
        return await self._calls.read(
            "get_client_by_phone",
            lambda: self._backend.get_client_by_phone(
                check.phone(phone), check.optional_identifier("company_id", company_id)
            ),
        )
