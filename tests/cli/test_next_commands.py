"""The next command that a stop names is the same one again, with the options that it needs."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.cli.command_tree import cli
from tests.cli.command import Command
from tests.migration.engine import add_clients, execute
from tests.support import faults
from tests.support.in_process import tree_of_commands
from tests.support.page_server import PageServer


@pytest.fixture
def settings(pages: PageServer, source_database: str, database_url: str) -> dict[str, str]:
    add_clients(source_database, 5)
    return {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key, "DATABASE_URL": database_url}


def test_a_migration_names_what_its_steps_have_done(
    command: Command, settings: dict[str, str], pages: PageServer, fresh_database: str
) -> None:
    settings["DATABASE_URL"] = fresh_database
    pages.hook = lambda request: (
        faults.status(400) if request.table == "messages" and ":" in (request.parameter("select") or "") else None
    )
    flags = ["--key-role-ok", "--ignore-column", "clients.own", "--jobs", "3"]
    outcome = command("migrate", *flags, **settings)
    assert outcome.code == 1
    assert f"next:    botdata migrate {' '.join(flags)}\n" in outcome.err
    assert "done:    the schema's upgrade; " in outcome.err


def test_a_table_that_the_target_lacks(command: Command, settings: dict[str, str]) -> None:
    execute(settings["DATABASE_URL"], "DROP TABLE staff")
    flags = "--tables clients,staff --key-role-ok"
    for line in ("verify", "sync", "sync --reverse --overwrite --accept source-triggers-unseen"):
        outcome = command(*line.split(), *flags.split(), **settings)
        assert outcome.code == 1
        name, *own = line.split()
        again = " ".join([name, flags, *own])
        told = f"botdata preflight {flags}, which names all that is missing; then: botdata {again}"
        assert f"next:    {told}" in outcome.err


def test_a_copy_that_is_not_complete(command: Command, settings: dict[str, str], source_database: str) -> None:
    execute(source_database, "ALTER TABLE clients ADD own text, ALTER phone DROP NOT NULL")
    execute(source_database, "UPDATE clients SET phone = NULL WHERE id = 3")
    flags = "--tables clients --ignore-column clients.own"
    outcome = command("copy", *flags.split(), **settings)
    assert outcome.code == 1
    assert outcome.out.endswith(f"botdata quarantine list shows the reasons.\nNext: botdata copy {flags}\n")


def test_a_migration_that_stops_at_refused_rows(
    command: Command, settings: dict[str, str], source_database: str
) -> None:
    execute(source_database, "ALTER TABLE clients ALTER phone DROP NOT NULL; UPDATE clients SET phone = NULL")
    outcome = command("migrate", "--tables", "clients", "--max-quarantine", "3", **settings)
    assert outcome.code == 1
    assert "the target refuses more than 3 rows" in outcome.err
    assert "a higher --max-quarantine; then: botdata migrate --tables clients\n" in outcome.err
    assert "done:    the schema's upgrade" in outcome.err


@pytest.mark.parametrize(
    ("line", "flag", "told"),
    [
        ("copy --tables clients", "true", "botdata copy --tables clients --overwrite, if"),
        ("migrate --tables clients", "true", "botdata migrate --tables clients --overwrite, if"),
        ("sync --tables clients --follow", "true", "botdata sync --tables clients --follow --overwrite, if"),
        ("sync --reverse --until-clean --tables clients --accept source-triggers-unseen", "false",
         "botdata sync --tables clients --until-clean --accept source-triggers-unseen --reverse --overwrite, if"),
        ("quarantine replay --tables clients", "true", "botdata quarantine replay --tables clients --overwrite, if"),
        ("quarantine replay 7", "false", "botdata quarantine list"),
    ],
)  # fmt: skip
def test_what_the_flag_stops(command: Command, settings: dict[str, str], line: str, flag: str, told: str) -> None:
    outcome = command(*line.split(), **settings, USE_REPOSITORY_PATTERN=flag)
    assert outcome.code == 1
    assert f"next:    {told}" in outcome.err


_AWAY = "postgresql://bot:secret@127.0.0.1:1/salon"


_LINES = [
    "cutover advance --force why --accept source-row-cap --ignore-column clients.own",
    "cutover back --force 'the night is long'",
    "cutover forget bot-1:4711:a1b2c3 --force 'it is gone'",
    "cutover table bookings postgres",
    "cutover accept get_services price_min --reason 'without its scale' --until 2999-12-24",
    "cutover accept get_services price_min --withdraw",
    "mirror status",
    "mirror drain",
    "mirror retry 3 4",
    "quarantine show 17",
    "quarantine export 'refused rows.json' --force",
    "quarantine import 'refused rows.json'",
]


@pytest.mark.parametrize("line", _LINES)
def test_a_target_that_is_away_names_the_same_command_with_what_it_needs(
    command: Command, settings: dict[str, str], line: str, tmp_path: Path
) -> None:
    (tmp_path / "refused rows.json").touch()
    outcome = command(*shlex.split(line), **{**settings, "DATABASE_URL": _AWAY})
    assert outcome.code == 1
    assert f"botdata {' '.join(line.split()[:2])} stopped: the target (DATABASE_URL)" in outcome.err
    assert "secret" not in outcome.err
    told = outcome.err.partition("  next:    ")[2].strip()
    remedy, _, typed = told.partition(", then: ")
    assert remedy.startswith("correct DATABASE_URL")
    assert shlex.split(typed) == ["botdata", *shlex.split(line)]


def test_each_command_that_needs_an_argument_is_named_with_it() -> None:
    elsewhere = {"adopt", "fleet parity", "schema drop", "schema move-in", "schema move-out"}  # tests of their own
    named = {" ".join(line.split()[:2]) for line in _LINES}
    assert set(_with_arguments(tree_of_commands(cli))) - named - elsewhere == set()


def _with_arguments(command: Any, path: str = "") -> Iterator[str]:
    if any(one.param_type_name == "argument" and one.required for one in command.params):
        yield path.strip()
    for name, part in getattr(command, "commands", {}).items():
        yield from _with_arguments(part, f"{path} {name}")
