"""`botdata preflight` on the command line: words, documents, exit codes, and what copy and migrate make of it."""

import json
import logging
import re

import pytest

from tests.cli.command import Command
from tests.migration.engine import add_clients, execute, value
from tests.migration.paced import counted_connections
from tests.support import faults
from tests.support.faults import Fault, Request
from tests.support.page_server import PageServer

PHONE = "79000000001"


@pytest.fixture
def settings(pages: PageServer, source_database: str, database_url: str) -> dict[str, str]:
    add_clients(source_database, 5)
    return {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key, "DATABASE_URL": database_url}


def test_a_clean_pair(command: Command, settings: dict[str, str]) -> None:
    outcome = command("preflight", "--tables", "clients", **settings)
    assert outcome.code == 0, outcome.out
    assert re.search(r"^clients +5 +0$", outcome.out, re.MULTILINE)
    assert re.search(r"^preflight clear: 0 errors, 0 warnings, in [\d.]+ s\nNext: botdata copy --tables clients$",
                     outcome.out, re.MULTILINE)  # fmt: skip
    assert command("copy", "--tables", "clients", **settings).code == 0
    again = command("preflight", "--tables", "clients", **settings)
    assert again.out.endswith("Next: botdata verify --tables clients\n")
    assert command("preflight", "--tables", "clients,staff", **settings).out.endswith("copy --tables clients,staff\n")
    execute(settings["DATABASE_URL"], "UPDATE botdata.stage SET stage = 'dualwrite', moved_at = now()")
    assert command("preflight", "--tables", "clients", **settings).out.endswith("Next: botdata cutover status\n")


def test_a_request_that_is_tried_again_is_told_in_a_sentence(
    command: Command, settings: dict[str, str], pages: PageServer, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("stamina").setLevel(logging.NOTSET)
    seen: list[int] = []

    def hook(request: Request) -> Fault | None:
        seen.append(request.number)
        return faults.status(503) if len(seen) == 1 else None

    pages.hook = hook
    outcome = command("preflight", "--tables", "clients", **settings)
    assert outcome.code == 0
    assert "trying again (1 of " in outcome.err
    assert not [record for record in caplog.records if record.name.startswith("stamina")]


@pytest.mark.first_command
def test_errors_with_what_to_do_and_what_the_owner_accepts(
    command: Command, settings: dict[str, str], source_database: str
) -> None:
    execute(source_database, "ALTER TABLE clients ADD own text")
    execute(settings["DATABASE_URL"], "ALTER TABLE clients ALTER name TYPE varchar(10)")
    for step in ("preflight", "copy", "migrate"):
        outcome = command(step, **settings)
        assert outcome.code == 1
        assert "error source-column-unknown: the models have no column clients.own" in outcome.out
        assert "--ignore-column clients.own" in outcome.out
    assert "preflight found 2 errors: " in outcome.err
    assert "nothing was written" in outcome.err
    assert value(settings["DATABASE_URL"], "SELECT to_regnamespace('botdata') IS NULL")
    flags = ["--ignore-column", "clients.own", "--accept", "target-type-differs:clients.name"]
    shown = command("preflight", *flags, **settings)
    assert shown.code == 0
    assert re.search(r"clients +column name +character varying\(10\) +character varying\(255\)", shown.out)
    assert shown.out.endswith(f"Next: botdata copy {' '.join(flags)}\n")
    copied = command("copy", *flags, **settings)
    assert copied.code == 0, copied.err
    assert "preflight: nothing in the way, 2 warnings" in copied.out
    assert value(settings["DATABASE_URL"], "SELECT count(*) FROM clients") == 5


@pytest.mark.parametrize("code", ["no-such-code", "source-table-missing", "target-phase08:clients"])
def test_what_cannot_be_accepted(command: Command, settings: dict[str, str], code: str) -> None:
    outcome = command("preflight", "--accept", code, **settings)
    assert outcome.code == 2
    assert code in outcome.err


def test_phones_are_masked(command: Command, settings: dict[str, str], source_database: str) -> None:
    execute(source_database, "ALTER TABLE dialog_contexts DROP CONSTRAINT dialog_contexts_user_id_unique")
    execute(source_database, f"INSERT INTO dialog_contexts (user_id) VALUES ('{PHONE}'), ('{PHONE}')")
    for flags in ([], ["--json"]):
        outcome = command("preflight", *flags, **settings)
        assert outcome.code == 1
        assert "7900***0001" in outcome.out
        assert PHONE not in outcome.out + outcome.err


@pytest.mark.parametrize(
    ("changed", "code", "remedy"),
    [
        ({"SUPABASE_KEY": "sb_publishable_x"}, "source-key-role", "set SUPABASE_KEY to the service key"),
        ({"SUPABASE_KEY": "sb_secret_x"}, "source-unreachable", "correct SUPABASE_URL and SUPABASE_KEY, then: "),
        (
            {"SUPABASE_URL": "http://127.0.0.1:9"},
            "source-unreachable",
            "correct SUPABASE_URL, or wait until it answers, ",
        ),
        ({"DATABASE_URL": "postgresql://x:password-of-the-database@127.0.0.1:9/x"}, "target-unreachable", "correct D"),
    ],
)
def test_what_stops_other_commands_is_a_finding_here(
    command: Command, settings: dict[str, str], changed: dict[str, str], code: str, remedy: str
) -> None:
    outcome = command("preflight", "--json", **{**settings, **changed})
    assert outcome.code == 1
    document = json.loads(outcome.out)
    remedies = {one["code"]: one["remedy"] for one in document["findings"] if one["severity"] == "error"}
    assert remedies[code].startswith(remedy)
    assert document["next"] == "put the errors right, then: botdata preflight"


def test_an_upgrade_of_a_schema_that_no_revision_made_names_it(
    command: Command, settings: dict[str, str], fresh_database: str
) -> None:
    execute(fresh_database, "CREATE TABLE clients (id integer)")
    outcome = command("upgrade", **{**settings, "DATABASE_URL": fresh_database})
    assert "next:    botdata preflight" in outcome.err


def test_the_source_itself_is_no_target(command: Command, source_database: str) -> None:
    execute(source_database, "DROP TABLE alembic_version")  # so that `schema replace` would drop the source's tables
    same = {"MIGRATION_SOURCE": source_database, "DATABASE_URL": source_database}
    for line in ("preflight", "migrate", "copy", "sync", "verify", "upgrade", "schema replace --yes", "report"):
        refused = command(*line.split(), **same)
        assert (refused.code, "DATABASE_URL is the source itself" in refused.err) == (1, True), line + refused.err
    project = "https://abcdefghijklmnopqrst.supabase.co"
    pooler = "postgresql://postgres.abcdefghijklmnopqrst:p@aws-0-eu-central-1.pooler.supabase.com:5432/postgres"
    refused = command("verify", SUPABASE_URL=project, SUPABASE_KEY="sb_secret_x", DATABASE_URL=pooler)
    assert "DATABASE_URL is the source itself (abcdefghijklmnopqrst.supabase.co)" in refused.err
    with counted_connections(source_database) as (another_address, _):
        found = command("preflight", "--json", **{**same, "DATABASE_URL": another_address})
    document = json.loads(found.out)
    assert [one["code"] for one in document["findings"] if one["severity"] == "error"] == ["target-is-source"]
    assert "schema replace" not in found.out
    assert document["next"] == "put the errors right, then: botdata preflight"
    assert value(source_database, "SELECT to_regclass('clients') IS NOT NULL")
