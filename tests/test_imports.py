"""Imports run one way: each layer imports itself and those before it; and docs/architecture.md draws them."""

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

APP = Path(__file__).parent.parent / "app"
# Each layer may import itself and those before it in this list. A package stands for all that is in it and not named.
LAYERS = [
    ["common.schemas", "errors", "next_step", "privacy", "cutover.locks", "cutover.stages"],
    ["common", "flags", "settings"],
    ["models"],
    ["state"],
    ["stores.codec"],
    ["cutover.failover_mark", "cutover.tables"],
    ["cutover.fencing"],
    ["stores"],
    ["cutover.known_stage", "cutover.looks"],
    ["cutover.membership"],
    ["repositories"],
    ["cutover.replication", "cutover.resting_backend", "cutover.shadow", "cutover.staged_backend"],
    ["data_layer"],
    ["migration.retry"],
    ["migration.tables"],
    ["migration.sources"],
    ["migration.target"],
    ["migration.runs"],
    ["migration.load"],
    ["migration.keys"],
    ["migration.quarantine"],
    ["migration.whole"],
    ["migration.verify"],
    ["migration.copy"],
    ["migration.sync", "migration.preflight", "migration.inventory"],
    ["migration.stream"],
    ["schema"],
    ["migration.migrate", "cutover.moves", "adopt", "report"],
    ["relocation"],
    ["notify"],
    ["fleet", "parity", "watch"],
    ["rehearsal"],
    ["embedded"],
    ["cli.options", "cli.project", "cli.render"],
    ["cli.progress"],
    ["cli.running"],
    ["cli.reports", "cli.work"],
    ["cli.commands"],
    ["cli.command_tree", "cli.main"],
]
RANKS = {name: rank for rank, names in enumerate(LAYERS) for name in names}
# What would be below, and is apart all the same.
FORBIDDEN = {
    "state.cutover": ["state.runs"],
    "cutover.replication.to_postgres": ["cutover.replication.to_supabase"],
    "cutover.replication.to_supabase": ["cutover.replication.to_postgres"],
    "cutover.shadow": ["cutover.replication"],
    "stores.postgres": ["stores.supabase"],
    "stores.supabase": ["stores.postgres"],
    "repositories": ["stores.supabase"],
    "migration": ["repositories", "data_layer", "cutover.membership", "cutover.replication", "cutover.shadow"],
    "schema": ["repositories", "data_layer", "cutover.membership", "cutover.replication", "cutover.shadow"],
    "cutover.moves": ["repositories", "data_layer", "cutover.membership", "cutover.replication", "cutover.shadow"],
    "relocation": ["repositories", "data_layer", "cutover.membership", "cutover.replication", "cutover.shadow"],
    "notify": ["repositories", "data_layer", "cutover.membership", "cutover.replication", "cutover.shadow"],
    "parity": ["migration", "schema", "cutover.moves"],
    "embedded": ["repositories", "data_layer", "migration", "cutover", "parity"],
}


def _rank(name: str) -> int:
    """The layer of a module, by its name without `app.`."""
    parts = name.split(".")
    ranks = [RANKS.get(".".join(parts[:length])) for length in range(len(parts), 0, -1)]
    return next(rank for rank in ranks if rank is not None)  # StopIteration: a package that has no layer yet


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


def test_imports_run_one_way() -> None:
    files = [file for file in APP.rglob("*.py") if file.parent != APP or file.name != "__init__.py"]
    wrong = []
    for file in files:
        module = ".".join(file.relative_to(APP).with_suffix("").parts)
        for name in sorted(_imported(file)):
            other = name.removeprefix("app.")
            if name.startswith("app.") and (_rank(other) > _rank(module) or _is_apart(module, other)):
                wrong.append(f"{module} imports {other}")
    assert wrong == []


def _is_apart(module: str, other: str) -> bool:
    return any(
        f"{module}.".startswith(f"{package}.") and any(f"{other}.".startswith(f"{name}.") for name in names)
        for package, names in FORBIDDEN.items()
    )


def test_the_architecture_draws_the_imports() -> None:
    picture = (APP.parent / "docs" / "architecture.md").read_text(encoding="utf-8").partition("```mermaid")[2]
    picture = picture.partition("```")[0]
    boxes = {
        package.replace("/", "."): box
        for box, packages in re.findall(r'(\w+)\["([\w/, ]+)', picture)
        for package in packages.split(", ")
    }

    def box_of(name: str) -> str:
        parts = name.split(".")
        return next(box for length in range(len(parts), 0, -1) if (box := boxes.get(".".join(parts[:length]))))

    drawn: dict[str, set[str]] = {box: set() for box in boxes.values()}
    for box, others in re.findall(r'(\w+)(?:\["[^"]*"\])? --> (.+)', picture):
        drawn[box] |= set(others.split(" & "))
    imported: dict[str, set[str]] = {box: set() for box in drawn}
    for file in APP.rglob("*.py"):
        if others := {box_of(name[4:]) for name in _imported(file) if name.startswith("app.")}:
            box = box_of(".".join(file.relative_to(APP).with_suffix("").parts))
            imported[box] |= others - {box}

    def below(box: str) -> set[str]:
        return drawn[box].union(*map(below, drawn[box]))

    assert {box: others - imported[box] for box, others in drawn.items() if others - imported[box]} == {}
    assert {box: others - below(box) for box, others in imported.items() if others - below(box)} == {}


def test_a_folder_can_be_taken_in_at_a_glance() -> None:
    sizes = Counter(str(file.parent) for file in APP.rglob("*.py") if file.name != "__init__.py")
    assert {folder: size for folder, size in sizes.items() if size > 12} == {}


_OPEN_TABLES = """
import asyncio
from app.stores.supabase.client import SupabaseRest
asyncio.run(SupabaseRest.open("https://project.supabase.example", "key"))
"""


@pytest.mark.parametrize(
    ("command", "unneeded"),
    [
        (["-c", "import app.data_layer"], {"sqlalchemy", "psycopg", "pydantic", "httpx", "supabase", "phonenumbers"}),
        (
            ["-m", "app.cli.main", "--help"],
            {"sqlalchemy", "psycopg", "pydantic", "httpx", "supabase", "alembic", "asyncio", "rich"},
        ),
        # A command reads and writes tables alone; the whole client signs in, stores files and listens, too.
        (["-c", _OPEN_TABLES], {"supabase", "supabase_auth", "realtime", "storage3"}),
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
