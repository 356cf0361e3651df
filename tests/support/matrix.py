"""Tests with many parameters: some combinations run each time, all of them in soak."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest


def combinations(names: str, *values: Sequence[Any], each_time: Sequence[tuple[Any, ...]]) -> pytest.MarkDecorator:
    """Every combination of values, of which those `each_time` are not left to soak.

    Raises:
        ValueError: one of `each_time` is no combination, or one of the values is in none of them.
    """
    known = list(product(*values))
    missing = [one for place, some in enumerate(values) for one in some if one not in {c[place] for c in each_time}]
    if missing or not set(each_time) <= set(known):
        raise ValueError(f"{names}: {missing or each_time} is to be corrected")
    marked = [pytest.param(*one, marks=() if one in each_time else pytest.mark.soak) for one in known]
    return pytest.mark.parametrize(names, marked)


# Where a test runs, by the name of the fixture, and at every which of these places a case runs each time. Of the six
# stages in their order these are two, one of either authority.
_PLACES = {"data": 3, "ends": 2, "lost": 2, "make_source": 2, "move": 3, "source": 3}
# Where a test has few cases, the tests of a file take turns at these places, by their number.
_IN_TURN = {"ends": {0, 1}, "make_source": {0, 1}, "move": {0, 1, 2}, "source": {1}}  # of a source: @supabase/lite
_ALONE = {"ends", "make_source"}  # the only test of a file runs at every one of these


def leave_to_soak(items: Sequence[pytest.Item]) -> None:
    """Mark what soak alone runs: of a test with several cases and places, each case at its turn of the places.

    Every case runs, and the test runs at every place, but not every case at every place. Where cases are few, the tests
    of a file take turns, so that the file runs at every place.
    """
    tests: dict[tuple[Any, ...], dict[tuple[int, ...], list[tuple[int, pytest.Item]]]] = {}
    for item in items:
        call = getattr(item, "callspec", None)
        place = next((name for name in _PLACES if call and name in call.indices), None)
        if place is not None:
            case = tuple(number for name, number in call.indices.items() if name != place)
            key = (item.path, getattr(item, "originalname", None), place)
            tests.setdefault(key, {}).setdefault(case, []).append((call.indices[place], item))
    turns: Counter[Any] = Counter()
    of_a_file = Counter((path, place) for path, _, place in tests)
    for (path, _, place), cases in tests.items():
        many = len(cases) >= _PLACES[place]
        present = {index for same in cases.values() for index, _ in same}
        if len(present) < _PLACES[place]:
            continue  # the test names its places itself
        in_turn = set() if place in _ALONE and of_a_file[path, place] == 1 else _IN_TURN.get(place, set())
        turns[path] += 1
        for number, same in enumerate(cases.values()):
            for index, item in same:
                if many:
                    left = index % _PLACES[place] != number % _PLACES[place]
                else:
                    left = index in in_turn and index % _PLACES[place] != turns[path] % _PLACES[place]
                if left:
                    item.add_marker(pytest.mark.soak)
