"""`botdata rehearse` up to the cutover: what it writes and where, what it says, and when it does not begin."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from app.cli.commands.rehearse import stand_in
from tests.cli.command import Command, Outcome
from tests.cli.test_json import check_document
from tests.migration.engine import add_clients, execute, query
from tests.rehearsal.left import databases_left, directories_left, not_removed
from tests.support.page_server import PageServer
from tests.support.postgres import PostgresServer

_PASSWORD = "password-of-the-database"  # which no command of the tests may print
_SHORT = ("--without-cutover", "--accept-unknown-disk", "--yes")


@pytest.fixture
def settings(pages: PageServer, source_database: str, database_url: str) -> dict[str, str]:
    add_clients(source_database, 30)
    execute(source_database, "UPDATE clients SET phone = '79123456780'")
    return {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key, "DATABASE_URL": database_url}


def _rehearse(command: Command, settings: dict[str, str], *words: str, code: int = 0) -> tuple[Outcome, dict[str, Any]]:
    outcome = command("rehearse", "--json", *words, **settings)
    assert outcome.code == code, outcome.out + outcome.err
    return outcome, check_document(outcome.out, "rehearse") if "error" not in json.loads(outcome.out) else {}


def _states(document: dict[str, Any]) -> dict[str, str]:
    return {step["step"]: step["state"] for step in document["steps"]}


def _whole(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of a database but the rehearsals' records."""
    names = query(
        url,
        "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname IN ('public', 'botdata') "
        "AND tablename <> 'rehearsals'",
    )
    return {name: query(url, f"SELECT t::text FROM {name} t ORDER BY 1") for (name,) in names}


def test_it_reads_the_source_and_writes_to_the_target_nothing_but_its_record(
    command: Command,
    settings: dict[str, str],
    pages: PageServer,
    source_database: str,
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stand_in, "_WHEELS", ("no_such_wheel",))
    target = settings["DATABASE_URL"]
    execute(target, "INSERT INTO services (yclients_id, company_id, title) VALUES (1, 2, 'there before')")
    before = _whole(target)
    rows = _whole(source_database)
    outcome, document = _rehearse(command, settings, "--accept-unknown-disk", "--yes", code=1)
    assert _states(document) == {
        "preflight": "passed", "revisions": "passed", "copy": "passed", "verify": "passed",
        "sync beside the living source": "passed", "cutover there and back": "left out",
    }  # fmt: skip
    assert document["not_rehearsed"] == ["cutover there and back"]
    assert "pip install '.[demo]'" in document["steps"][-1]["said"]
    assert "NOT rehearsed: the cutover there and back" in outcome.err
    (copied,) = (step for step in document["steps"] if step["step"] == "copy")
    assert copied["rows"] == 30
    assert copied["bytes"] > 30 * 100
    assert copied["seconds"] > 0
    assert document["source_bytes"] > 30 * 100
    assert "PRODUCTION DATA will lie" in outcome.err
    assert "79123456780" not in outcome.out + outcome.err
    assert {exchange.request.method for exchange in pages.exchanges} <= {"GET", "HEAD"}
    assert _whole(source_database) == rows
    assert _whole(target) == before
    assert query(target, "SELECT made, removed_at IS NOT NULL, directory FROM botdata.rehearsals") == [
        (True, True, None)
    ]
    assert databases_left(target) == []
    assert directories_left(temporary) == []


@pytest.fixture
def roles(databases: PostgresServer, source_database: str) -> Iterator[tuple[str, str]]:
    """The source for a role that may only read, and a target of a role that is no superuser and may make databases."""
    word = f"botdata_test_{uuid.uuid4().hex[:8]}"
    reader, owner, target = f"{word}_reader", f"{word}_owner", databases.url(word)
    execute(
        source_database,
        f"CREATE ROLE {reader} LOGIN BYPASSRLS PASSWORD '{_PASSWORD}'; GRANT USAGE ON SCHEMA public TO {reader}; "
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader}; "
        f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {reader}",
    )
    with psycopg.connect(databases.admin_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {owner} LOGIN CREATEDB PASSWORD '{_PASSWORD}'")
        connection.execute(f"CREATE DATABASE {word} OWNER {owner}")

    def as_role(url: str, role: str) -> str:
        return make_url(url).set(username=role, password=_PASSWORD).render_as_string(hide_password=False)

    yield as_role(source_database, reader), as_role(target, owner)
    databases.drop_database(target)
    execute(source_database, f"DROP OWNED BY {reader}; DROP ROLE {reader}; DROP ROLE {owner}")


@pytest.mark.separate_server
def test_rights_to_read_the_source_and_to_make_databases_are_enough(
    command: Command, roles: tuple[str, str], source_database: str
) -> None:
    source, target = roles
    add_clients(source_database, 30)
    rows = _whole(source_database)
    outcome = command("rehearse", *_SHORT, "--with-baileys", "--source", source, DATABASE_URL=target)
    assert outcome.code == 0, outcome.out + outcome.err
    assert "NOT rehearsed: cutover there and back" in outcome.out
    assert "Next: botdata migrate --with-baileys --source" in outcome.out
    assert _whole(source_database) == rows
    assert query(target, "SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information)' ORDER BY 1") == [
        ("botdata",), ("public",),
    ]  # fmt: skip
    assert query(target, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
    assert (databases_left(target), not_removed(target)) == ([], 0)
    execute(source_database, f"ALTER ROLE {make_url(target).username} NOCREATEDB")
    outcome = command("rehearse", *_SHORT, "--source", source, "--on", target, DATABASE_URL=target)
    assert outcome.code == 1
    assert "the role in --on may not make a database" in outcome.err
    assert f'ALTER ROLE "{make_url(target).username}" CREATEDB' in outcome.err


def test_what_the_target_refuses_is_told_and_the_cutover_not_begun(
    command: Command, settings: dict[str, str], source_database: str, temporary: Path, databases: PostgresServer
) -> None:
    execute(
        source_database, "ALTER TABLE clients ALTER phone DROP NOT NULL; UPDATE clients SET phone = NULL WHERE id = 3"
    )
    words = ("--accept-unknown-disk", "--yes", "--on", databases.admin_url)
    _, document = _rehearse(command, settings, *words, code=1)
    assert document["next"].startswith("botdata rehearse --on 'postgresql://")
    assert query(settings["DATABASE_URL"], "SELECT server IS NOT NULL FROM botdata.rehearsals") == [(True,)]
    states = _states(document)
    assert (states["copy"], states["verify"], states["sync beside the living source"]) == ("failed", "failed", "failed")
    assert document["refused"] == [{"table": "clients", "key": ["3"], "sqlstate": "23502", "place": "phone"}]
    assert document["steps"][-1]["said"] == "a step before it failed"
    assert document["not_rehearsed"] == ["cutover there and back"]
    assert (databases_left(settings["DATABASE_URL"]), directories_left(temporary)) == ([], [])


def test_what_preflight_finds_ends_it(command: Command, settings: dict[str, str], source_database: str) -> None:
    execute(source_database, "ALTER TABLE clients ADD own_column text; UPDATE clients SET own_column = 'x'")
    _, document = _rehearse(command, settings, *_SHORT, code=1)
    assert _states(document) == {"preflight": "failed"}
    assert document["findings"][0]["code"] == "source-column-unknown"
    assert databases_left(settings["DATABASE_URL"]) == []


def test_it_does_not_begin_without_a_yes(command: Command, settings: dict[str, str]) -> None:
    assert command("rehearse", "--json", **settings).code == 2
    outcome = command("rehearse", "--accept-unknown-disk", **settings)
    assert outcome.code == 1
    assert "PRODUCTION DATA" in outcome.out
    assert query(settings["DATABASE_URL"], "SELECT FROM botdata.rehearsals") == []


def test_models_without_revisions_are_refused(command: Command, settings: dict[str, str]) -> None:
    outcome = command("rehearse", "--yes", "--metadata", "tests.cli.users_models:Base", **settings)
    assert outcome.code == 1
    assert "botdata adopt" in outcome.err
