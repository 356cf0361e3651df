"""The comparison of two answers: what it must see, and the little that it must not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from app.data_layer import Health, Result
from app.parity.comparison import differences


def answer(operation: str, data: Any, **metadata: Any) -> Result[Any]:
    return Result(True, data, None, None, operation, datetime(2026, 1, 1, tzinfo=UTC), metadata)


def test_response_time_in_anybodys_json_is_a_value_like_others() -> None:
    left, right = ([{"raw_data": {"response_time": seconds}}] for seconds in (1, 2))
    assert differences(answer("get_services", left), answer("get_services", right)) == [
        "data[0]['raw_data']['response_time']"
    ]


def test_the_time_of_a_health_check_does_not_count() -> None:
    assert (
        differences(
            answer("health_check", Health(True, 0.1, 5.0), response_time=0.1),
            answer("health_check", Health(True, 0.2, 5.0), response_time=0.2),
        )
        == []
    )
    assert differences(
        answer("health_check", Health(True, 0.1, 5.0), healthy=True, limit=5.0, response_time=0.1),
        answer("health_check", Health(True, 0.1, 4.0), healthy=False, limit=5.0, response_time=0.2),
    ) == ["metadata['healthy']", "data.limit"]
