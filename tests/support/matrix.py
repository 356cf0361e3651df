"""Parameters of a test that has many of them: some combinations run each time, all of them in soak."""

from __future__ import annotations

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
