"""Imports run one way: a package of the left column imports none of those on its right."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

APP = Path(__file__).parent.parent / "app"
FORBIDDEN = {
    "models": ["db", "rest", "repositories", "data_layer", "migration", "parity", "cli", "embedded"],
    "cutover": ["db", "rest", "repositories", "data_layer", "migration", "schema", "parity", "cli", "embedded"],
    "repositories": ["rest", "data_layer", "migration", "parity", "cli", "embedded"],
    "data_layer": ["migration", "parity", "cli", "embedded"],
    "migration": ["repositories", "data_layer", "schema", "parity", "cli", "embedded"],
    "schema": ["repositories", "data_layer", "parity", "cli", "embedded"],
    "parity": ["migration", "cli", "embedded"],
    "embedded": ["repositories", "data_layer", "migration", "parity", "cli"],
}


def _imported(file: Path) -> set[str]:
    """The modules that a file imports, those inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_run_one_way(package: str) -> None:
    files = list((APP / package).rglob("*.py"))
    assert files
    wrong = [
        f"{file.relative_to(APP)} imports {name}"
        for file in files
        for name in _imported(file)
        for other in FORBIDDEN[package]
        if f"{name}.".startswith(f"app.{other}.")
    ]
    assert wrong == []


def test_nothing_but_the_command_line_imports_it() -> None:
    wrong = [
        str(file)
        for file in APP.rglob("*.py")
        if file.parent.name != "cli" and any(f"{name}.".startswith("app.cli.") for name in _imported(file))
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("command", "unneeded"),
    [
        (["-c", "import app.data_layer"], {"sqlalchemy", "psycopg", "pydantic", "httpx", "supabase", "phonenumbers"}),
        (
            ["-m", "app.cli.main", "--help"],
            {"sqlalchemy", "psycopg", "pydantic", "httpx", "supabase", "alembic", "asyncio", "rich"},
        ),
    ],
)
def test_what_is_heavy_is_imported_only_when_used(command: list[str], unneeded: set[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command],
        cwd=APP.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "app.errors" in imported
    assert imported & unneeded == set()
