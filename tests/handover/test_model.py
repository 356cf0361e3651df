"""The model of docs/handover.md: all its states keep the promises, and none of its guards can be left out."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import app.cutover
import app.state.cutover
import app.state.runs
import app.stores.supabase
from tests.handover.explorer import Explorer, Found
from tests.handover.faults import FAULTS, LOSSY
from tests.handover.guards import BESIDE, GUARDS
from tests.handover.model import Model

_PAGE = Path(__file__).parents[2] / "docs" / "handover.md"


def explored(*, processes: int, faults: int, deleted: tuple[str, ...] = (), kinds: tuple[str, ...] = FAULTS) -> Found:
    return Explorer(Model(deleted, kinds), processes=processes, faults=faults).explore()


@pytest.mark.parametrize(("processes", "faults", "kinds"), [(2, 2, FAULTS), (3, 1, FAULTS), (2, 1, LOSSY)])
def test_no_promise_is_broken(processes: int, faults: int, kinds: tuple[str, ...]) -> None:
    found = explored(processes=processes, faults=faults, kinds=kinds)
    assert found.violation is None, str(found)
    assert found.states > 50_000


@pytest.mark.soak
@pytest.mark.budget(90)
def test_no_promise_is_broken_by_two_faults_of_three_processes() -> None:
    found = explored(processes=3, faults=2)
    assert found.violation is None, str(found)
    assert found.states > 1_000_000


@pytest.mark.parametrize("guard", [guard for guard in GUARDS if guard not in BESIDE])
def test_a_guard_that_is_left_out_is_missed(guard: str) -> None:
    kinds = LOSSY if guard == "proved anew" else FAULTS
    for processes, faults in ((1, 0), (1, 1), (2, 0), (1, 2), (2, 1)):
        found = explored(processes=processes, faults=faults, deleted=(guard,), kinds=kinds)
        if found.violation is not None:
            assert found.trace
            return
    pytest.fail(f"nothing is broken without {guard!r}: {GUARDS[guard]}")


@pytest.mark.parametrize("guard", BESIDE)
def test_a_guard_beside_another_one_is_missed_where_both_are_left_out(guard: str) -> None:
    assert explored(processes=1, faults=2, deleted=(guard,)).violation is None  # else it belongs to the others
    assert explored(processes=1, faults=0, deleted=(BESIDE[guard],)).violation is None
    assert explored(processes=1, faults=0, deleted=(guard, BESIDE[guard])).violation is not None


def _functions() -> dict[str, list[str]]:
    """Where `module.function` and `Class.method` of the cutover stand."""
    found: dict[str, list[str]] = {}
    for package in (app.cutover, app.state.cutover, app.state.runs, app.stores.supabase):
        for module_info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(module_info.name)
            for name, member in vars(module).items():
                if getattr(member, "__module__", None) != module.__name__:
                    continue
                if inspect.isfunction(member):
                    found.setdefault(f"{module.__name__.rpartition('.')[2]}.{name}", []).append(module.__name__)
                elif inspect.isclass(member):
                    for method in vars(member):
                        if inspect.isfunction(getattr(member, method)):
                            found.setdefault(f"{name}.{method}", []).append(module.__name__)
    return found


def _steps_of_the_page() -> list[str]:
    (table,) = re.findall(r"^## Steps\n(.*?)^## ", _PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return re.findall(r"^\| `([\w.]+)` \|", table, re.MULTILINE)


def test_the_steps_are_those_of_the_page_and_functions_of_the_code() -> None:
    found = explored(processes=2, faults=1).names | explored(processes=1, faults=2).names
    names = {name for name in found if "." in name}
    assert sorted(_steps_of_the_page()) == sorted(names)
    functions = _functions()
    assert [name for name in sorted(names) if len(functions.get(name, [])) != 1] == []


def test_the_page_has_every_guard() -> None:
    (table,) = re.findall(r"^## Guards\n(.*?)^## ", _PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert dict(re.findall(r"^\| ([\w ]+?) \| (.*?) \|", table, re.MULTILINE)) == {"guard": "what it asks"} | GUARDS
