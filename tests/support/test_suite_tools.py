"""What decides which tests run, and what they may cost."""

import argparse
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.fixtures.suite import Budget, _part
from tests.support.matrix import combinations, leave_to_soak


def _report(test: str, *properties: tuple[str, float]) -> pytest.TestReport:
    return cast(pytest.TestReport, SimpleNamespace(nodeid=test, user_properties=list(properties)))


def test_what_is_over_its_budget_is_named() -> None:
    budget = Budget(strict=False)
    for phase in ([("processor time", 15.0)], [("processor time", 6.0)]):
        budget.pytest_runtest_logreport(_report("a.py::slow", *phase))
    budget.pytest_runtest_logreport(_report("a.py::journey", ("processor time", 55.0), ("budget", 60)))
    for number in range(4):
        budget.pytest_runtest_logreport(_report(f"b.py::{number}", ("processor time", 16.0)))
    assert budget.over() == [
        "a.py::slow: 21.0 s of processor time; its budget is 20 s",
        "b.py: 64.0 s of processor time; its budget is 60 s",
    ]


def test_a_part_is_a_number_of_parts() -> None:
    assert _part("3/8") == (3, 8)
    for text in ("0/8", "9/8", "3", "3/", "-1/8", "a/b"):
        with pytest.raises(argparse.ArgumentTypeError, match="is not a part"):
            _part(text)


def test_every_value_of_a_matrix_is_tried_each_time() -> None:
    mark = combinations("a, b", [1, 2], ["x", "y"], each_time=[(1, "x"), (2, "y")])
    assert [(one.values, bool(one.marks)) for one in mark.args[1]] == [
        ((1, "x"), False),
        ((1, "y"), True),
        ((2, "x"), True),
        ((2, "y"), False),
    ]
    for each_time in ([(1, "x"), (2, "x")], [(1, "x"), (2, "y"), (3, "x")]):
        with pytest.raises(ValueError, match="is to be corrected"):
            combinations("a, b", [1, 2], ["x", "y"], each_time=each_time)


class _Item:
    """What `leave_to_soak` looks at."""

    def __init__(self, test: str, **indices: int) -> None:
        self.path, self.originalname, self.callspec = "file.py", test, SimpleNamespace(indices=indices)
        self.marks: list[Any] = []

    def add_marker(self, mark: Any) -> None:
        self.marks.append(mark.name)


def test_each_case_runs_somewhere_and_each_place_has_a_case() -> None:
    many = [_Item("many", data=stage, case=case) for stage in range(6) for case in range(3)]
    few = [_Item("few", data=stage, case=case) for stage in range(6) for case in range(2)]
    leave_to_soak(cast(Any, [*many, *few, SimpleNamespace(path="file.py")]))
    kept = [(item.callspec.indices["data"], item.callspec.indices["case"]) for item in many if not item.marks]
    assert sorted(kept) == [(0, 0), (1, 1), (2, 2), (3, 0), (4, 1), (5, 2)]
    assert {mark for item in many for mark in item.marks} == {"soak"}
    assert [item for item in few if item.marks] == []


@pytest.mark.parametrize(
    ("place", "places", "tests", "kept"),
    [
        ("source", 3, 4, [[0, 1, 2], [0, 2], [0, 2], [0, 1, 2]]),
        ("ends", 2, 3, [[1], [0], [1]]),
        ("ends", 2, 1, [[0, 1]]),
    ],
)
def test_tests_of_few_cases_take_turns(place: str, places: int, tests: int, kept: list[list[int]]) -> None:
    items = [[_Item(f"test {number}", **{place: n}) for n in range(places)] for number in range(tests)]
    leave_to_soak(cast(Any, [item for same in items for item in same]))
    assert [[item.callspec.indices[place] for item in same if not item.marks] for same in items] == kept


def test_a_test_that_names_one_place_runs_there() -> None:
    items = [_Item(f"test {number}", ends=0) for number in range(2)]
    leave_to_soak(cast(Any, items))
    assert [item.marks for item in items] == [[], []]
