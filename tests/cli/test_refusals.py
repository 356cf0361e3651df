"""What stops a command before the first row: each with a clear message, exit code 1, and nothing written."""

import base64
import json
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from app.migration.preflight import run as preflight
from app.migration.retry import Limits
from app.migration.sources.rest import rest_source
from tests.cli.command import Command
from tests.migration.engine import add_clients, execute, value
from tests.schema import phase08
from tests.support.page_server import PageServer


def _jwt(**claims: object) -> str:
    def part(content: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()

    return ".".join([part({"alg": "HS256"}), part(claims), "c2lnbmF0dXJl"])


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = replace(Limits(), attempts=2, wait_initial=0.01)
    monkeypatch.setattr(rest_source, "Limits", lambda: quick)
    monkeypatch.setattr(preflight, "_LIMITS", quick)


@pytest.fixture
def settings(pages: PageServer, source_database: str, database_url: str) -> dict[str, str]:
    add_clients(source_database, 3)
    return {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key, "DATABASE_URL": database_url}


KEYS = {
    _jwt(role="anon"): "a key of the role anon",
    _jwt(role="authenticated"): "a key of the role authenticated",
    "sb_publishable_0123456789": "a key of the role publishable",
    _jwt(role="importer"): "a key of the role importer",
    _jwt(sub="x"): "a key that names no role",
    "not a key": "a key that names no role",
}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("step", ["copy", "verify"])
def test_a_key_that_may_not_see_every_row(
    command: Command, settings: dict[str, str], pages: PageServer, key: str, step: str
) -> None:
    outcome = command(step, **{**settings, "SUPABASE_KEY": key})
    assert outcome.code == 1
    assert f"botdata {step} stopped: SUPABASE_KEY is {KEYS[key]}" in outcome.err
    assert "row-level security" in outcome.err
    assert "nothing was read" in outcome.err
    assert pages.exchanges == []


def test_the_public_roles_are_refused_all_the_same(
    command: Command, settings: dict[str, str], pages: PageServer
) -> None:
    for key in ("sb_publishable_0123456789", _jwt(role="anon")):
        assert command("copy", "--key-role-ok", **{**settings, "SUPABASE_KEY": key}).code == 1
    assert pages.exchanges == []


def test_a_custom_role_whose_owner_vouches_for_it(
    command: Command, settings: dict[str, str], pages: PageServer
) -> None:
    key = _jwt(role="importer")
    pages.roles[key] = None
    outcome = command("copy", "--tables", "clients", "--key-role-ok", **{**settings, "SUPABASE_KEY": key})
    assert (outcome.code, value(settings["DATABASE_URL"], "SELECT count(*) FROM clients")) == (0, 3)


def test_a_wrong_key(command: Command, settings: dict[str, str]) -> None:
    outcome = command("copy", **{**settings, "SUPABASE_KEY": "sb_secret_of_another_project"})
    assert outcome.code == 1
    assert "refuses the key" in outcome.err


@pytest.mark.parametrize("step", ["migrate", "sync", "preflight", "parity", "mirror drain"])
def test_all_settings_that_are_missing_are_named_at_once(command: Command, step: str) -> None:
    outcome = command(*step.split(), DATABASE_URL="", SUPABASE_URL="", SUPABASE_KEY="")
    assert outcome.code == 1
    assert "DATABASE_URL, SUPABASE_URL and SUPABASE_KEY are not set" in outcome.err


@pytest.mark.parametrize("missing", ["SUPABASE_URL", "SUPABASE_KEY", "DATABASE_URL"])
@pytest.mark.parametrize("step", ["copy", "verify"])
def test_a_missing_setting(command: Command, settings: dict[str, str], missing: str, step: str) -> None:
    outcome = command(step, **{**settings, missing: " "})
    assert outcome.code == 1
    assert f"{missing} is not set" in outcome.err


def test_postgresql_is_the_store_already(command: Command, settings: dict[str, str]) -> None:
    outcome = command("copy", "--tables", "clients", **settings, USE_REPOSITORY_PATTERN="true")
    assert outcome.code == 1
    assert "USE_REPOSITORY_PATTERN says that PostgreSQL is the bot's store already" in outcome.err
    assert "--overwrite" in outcome.err
    assert value(settings["DATABASE_URL"], "SELECT count(*) FROM clients") == 0
    assert command("copy", "--overwrite", "--tables", "clients", **settings, USE_REPOSITORY_PATTERN="true").code == 0


def test_rows_that_no_copy_put_there(command: Command, settings: dict[str, str]) -> None:
    add_clients(settings["DATABASE_URL"], 2, first=50)
    outcome = command("copy", **settings)
    assert outcome.code == 1
    assert "wrote: clients (2)" in outcome.err
    assert "nothing was written" in outcome.err
    assert value(settings["DATABASE_URL"], "SELECT count(*) FROM clients") == 2


def test_a_target_that_is_not_upgraded(command: Command, settings: dict[str, str], fresh_database: str) -> None:
    told = {"copy": "the target does not hold the tables yet", "verify": "the target has no table public."}
    for step, words in told.items():
        outcome = command(step, **{**settings, "DATABASE_URL": fresh_database})
        assert outcome.code == 1
        assert words in outcome.err
        assert f"next:    botdata {'upgrade' if step == 'copy' else 'preflight'}" in outcome.err


@pytest.mark.parametrize("names", ["clients,custmers", "", " , "])
def test_an_unknown_table(command: Command, settings: dict[str, str], names: str) -> None:
    outcome = command("copy", "--tables", names, **settings)
    assert outcome.code == 2
    assert ("no such table: custmers" if names.startswith("c") else "no table is named") in outcome.err
    assert "whatsapp_keys" in outcome.err


@pytest.mark.parametrize(
    "line",
    [
        "copy", "migrate", "sync", "sync --follow", "sync --reverse --overwrite --accept source-triggers-unseen",
        "verify --fix", "quarantine replay",
        "quarantine import rows.json", "schema replace --yes", "uninstall --yes",
    ],
)  # fmt: skip
def test_a_second_run_at_the_same_time(
    command: Command, settings: dict[str, str], fresh_database: str, tmp_path: Path, line: str
) -> None:
    (tmp_path / "rows.json").write_text("")
    if line.startswith("schema"):
        settings["DATABASE_URL"] = fresh_database
        phase08.fill(fresh_database)
    tables = "SELECT count(*) FROM pg_class WHERE relkind = 'r'"
    before = value(settings["DATABASE_URL"], tables)
    with psycopg.connect(settings["DATABASE_URL"], application_name="botdata copy") as other:
        other.execute("SELECT pg_advisory_lock(5287410332)")
        outcome = command(*line.split(), **settings)
    assert outcome.code == 1
    assert "another run is at work on" in outcome.err
    assert "botdata copy, connected since" in outcome.err
    again = " ".join(word for word in line.split() if word != "--yes")
    assert (
        f"next:    botdata status; when that run has ended: botdata {again.removesuffix(' rows.json')}" in outcome.err
    )
    assert value(settings["DATABASE_URL"], tables) == before


@pytest.mark.parametrize("line", ["verify --tables staff", "status", "quarantine list", "copy --dry-run"])
def test_what_only_reads_goes_on_beside_a_run(command: Command, settings: dict[str, str], line: str) -> None:
    with psycopg.connect(settings["DATABASE_URL"], application_name="botdata copy") as other:
        other.execute("SELECT pg_advisory_lock(5287410332)")
        assert command(*line.split(), **settings).code == 0


def test_an_unreachable_source(command: Command, settings: dict[str, str]) -> None:
    outcome = command("copy", **{**settings, "SUPABASE_URL": "http://127.0.0.1:9"})
    assert outcome.code == 1
    assert "Supabase cannot be reached" in outcome.err
    assert "correct SUPABASE_URL, or wait until it answers, then: botdata copy" in outcome.err
    assert "preflight: not all could be looked at" in outcome.out
    assert "nothing in the way" not in outcome.out


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/rest/v1/", "nonsense", "http://", "https://"])
def test_a_source_that_is_none(command: Command, settings: dict[str, str], url: str) -> None:
    assert command("copy", **{**settings, "SUPABASE_URL": url}).code == 1


@pytest.mark.parametrize("step", ["copy", "verify", "upgrade"])
def test_an_unreachable_target(command: Command, settings: dict[str, str], step: str) -> None:
    unreachable = "postgresql://someone:password-of-the-database@127.0.0.1:9/botdata"
    outcome = command(step, **{**settings, "DATABASE_URL": unreachable})
    assert outcome.code == 1
    assert "cannot be reached" in outcome.err


def test_a_database_that_does_not_exist(command: Command, settings: dict[str, str]) -> None:
    url = make_url(settings["DATABASE_URL"]).set(database="no_such_database").render_as_string(hide_password=False)
    outcome = command("copy", **{**settings, "DATABASE_URL": url})
    assert outcome.code == 1
    assert 'database "no_such_database" does not exist' in outcome.err


def test_a_password_with_an_at_sign_that_is_not_escaped(command: Command, settings: dict[str, str]) -> None:
    url = "postgresql://someone:secret@password-of-the-database@127.0.0.1:9/botdata"
    for step in ("copy", "verify", "upgrade", "uninstall"):
        assert command(step, **{**settings, "DATABASE_URL": url}).code == 1


def test_a_table_that_the_source_lacks(command: Command, settings: dict[str, str], source_database: str) -> None:
    execute(source_database, "DROP TABLE messages")
    outcome = command("copy", **settings)
    assert outcome.code == 1
    assert "the source has no table messages (source-table-missing)" in outcome.err
    assert "table:   messages" in outcome.err
