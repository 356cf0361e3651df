"""The circuit breaker, on a clock of its own."""

from __future__ import annotations

import pytest

from app.common.breaker import Breaker


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def breaker(clock: Clock, failures: int = 1) -> Breaker:
    return Breaker(failures=failures, pause=1.0, longest_pause=3.0, clock=clock)


def test_it_opens_after_failures_in_a_row(clock: Clock) -> None:
    one = breaker(clock, failures=2)
    one.failed()
    one.succeeded()
    one.failed()
    assert (one.is_open, one.allows()) == (False, True)
    one.failed()
    assert (one.is_open, one.allows()) == (True, False)


def test_one_probe_at_each_pause_until_one_succeeds(clock: Clock) -> None:
    one = breaker(clock)
    one.failed()
    clock.now += 1.0
    assert [one.allows(), one.allows(), one.is_open] == [True, False, True]
    one.succeeded()
    assert [one.allows(), one.allows(), one.is_open] == [True, True, False]


def test_pauses_grow_with_probes_that_fail_up_to_the_longest(clock: Clock) -> None:
    one = breaker(clock)
    one.failed()
    pauses = []
    for _ in range(4):
        began = clock.now
        while not one.allows():
            clock.now += 0.5
        pauses.append(clock.now - began)
        one.failed()
    assert pauses == [1.0, 2.0, 3.0, 3.0]
    clock.now += 3.0
    assert one.allows()
    one.succeeded()
    one.failed()
    clock.now += 1.0
    assert one.allows()


def test_calls_of_before_say_nothing_new(clock: Clock) -> None:
    one = breaker(clock)
    for _ in range(10):
        one.failed()
    clock.now += 1.0
    assert one.allows()


def test_a_probe_that_says_nothing_is_followed_by_another(clock: Clock) -> None:
    one = breaker(clock)
    one.failed()
    clock.now += 1.0
    assert [one.allows(), one.allows()] == [True, False]
    clock.now += 1.0
    assert one.allows()
