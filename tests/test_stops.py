"""Every stop is complete: step, what is pending, and what to run next, wherever the program raises one."""

import ast
from collections.abc import Iterator
from pathlib import Path

APP = Path(__file__).parents[1] / "app"


def _stops() -> Iterator[tuple[str, set[str | None]]]:
    """Where a MigrationError is made, or other errors are turned into one, and the arguments that are named."""
    for path in sorted(APP.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                named = {keyword.arg for keyword in node.keywords}
                if node.func.id == "MigrationError":
                    yield f"{path.relative_to(APP)}:{node.lineno}", named
                if node.func.id == "explained":  # it takes the step by position, and says what is next
                    yield f"{path.relative_to(APP)}:{node.lineno}", named | {"step", "next_step"}


def test_every_stop_names_its_step_what_is_pending_and_what_is_next() -> None:
    stops = dict(_stops())
    assert len(stops) > 60
    incomplete = {place: {"step", "pending", "next_step"} - named for place, named in stops.items()}
    assert {place: missing for place, missing in incomplete.items() if missing} == {}
