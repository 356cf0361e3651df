"""The next command that a stop names is the same one again, with the options that it needs."""

import pytest

from tests.cli.command import Command
from tests.migration.engine import add_clients, execute
from tests.support import faults
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
