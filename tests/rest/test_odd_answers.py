"""Answers that are not what was asked for: mixed up, of another length, or not PostgREST's at all."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from app.errors import UnavailableError
from tests.rest.recorded import Recorded, recorded_server


@pytest.fixture
async def recorded() -> AsyncIterator[Recorded]:
    async with recorded_server() as server:
        yield server


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        *((text, None) for text in ("soon", "-1", "1e3", "Wed, 21 Oct 2015 07:28:00", "Mon, 99 Foo 9999 99:99:99 GMT")),
        ("Wed, 21 Oct 2015 07:28:00 +99999999999999", None),
        ("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", None),
    ],
)
async def test_when_to_come_back(recorded: Recorded, header: str, seconds: float | None) -> None:
    recorded.answer_with(429, "", **{"retry-after": header})
    with pytest.raises(UnavailableError) as raised:
        await recorded.rest.respond(recorded.rest.table("clients").select("id"))
    assert raised.value.retry_after == seconds
