"""What verify prints, and its exit codes: --fix, --sample, rows in quarantine, and what to run next."""

import json

import pytest

from tests.cli.command import Command
from tests.migration.engine import add_clients, execute, value
from tests.support.page_server import PageServer


@pytest.fixture(params=["page server", "connection"])
def settings(
    request: pytest.FixtureRequest, pages: PageServer, source_database: str, database_url: str
) -> dict[str, str]:
    add_clients(source_database, 30)
    if request.param == "connection":
        return {"MIGRATION_SOURCE": source_database, "DATABASE_URL": database_url}
    return {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key, "DATABASE_URL": database_url}


_ONLY = ("--tables", "clients")


def test_fix_is_named_next_and_mends(command: Command, settings: dict[str, str]) -> None:
    assert command("copy", *_ONLY, **settings).code == 0
    execute(settings["DATABASE_URL"], "UPDATE clients SET name = 'x' WHERE id = 4; DELETE FROM clients WHERE id = 9")
    found = command("verify", *_ONLY, **settings)
    assert found.code == 1
    assert found.out.splitlines()[-2:] == [
        "NOT the same: 2 rows differ, of 30 rows",
        "Next: botdata verify --tables clients --fix",
    ]
    fixed = command("verify", *_ONLY, "--fix", **settings)
    assert fixed.code == 0
    assert "fixed: 2 rows were copied again and are equal now" in fixed.out.splitlines()
    assert "verified: 30 rows, no difference" in fixed.out
    assert fixed.out.splitlines()[-1] == "Next: botdata parity"
    assert command("verify", *_ONLY, **settings).code == 0


def test_extra_rows_are_for_sync(command: Command, settings: dict[str, str]) -> None:
    command("copy", *_ONLY, **settings)
    add_clients(settings["DATABASE_URL"], 1, first=31)
    for options in ((), ("--fix",)):
        found = command("verify", *_ONLY, *options, **settings)
        assert found.code == 1
        assert "extra: clients 31 is not in the source" in found.out.splitlines()
        assert found.out.splitlines()[-1] == (
            "Next: botdata sync --tables clients, which deletes rows that the source does not have, "
            "then: botdata verify --tables clients"
        )
    assert value(settings["DATABASE_URL"], "SELECT count(*) FROM clients") == 31


def test_rows_in_quarantine_are_missing(command: Command, settings: dict[str, str], source_database: str) -> None:
    execute(
        source_database, "ALTER TABLE clients ALTER phone DROP NOT NULL; UPDATE clients SET phone = NULL WHERE id = 3"
    )
    command("copy", *_ONLY, **settings)
    for options in ((), ("--fix",)):
        found = command("verify", *_ONLY, *options, **settings)
        assert found.code == 1
        assert "missing: clients 3 is not in the target (in quarantine, SQLSTATE 23502)" in found.out.splitlines()
        assert "clients: 1 of these rows were refused by the target and are in quarantine" in found.out.splitlines()
        assert found.out.splitlines()[-1] == "Next: botdata quarantine list --tables clients"
    document = json.loads(command("verify", *_ONLY, "--json", **settings).out)
    assert document["next"] == "botdata quarantine list --tables clients"
    (clients,) = document["tables"]
    assert (clients["missing"], clients["in_quarantine"], clients["equal"]) == (1, 1, 29)
    assert clients["differences"][0]["sqlstate"] == "23502"


def test_a_sample_says_that_it_is_one(command: Command, settings: dict[str, str]) -> None:
    command("copy", *_ONLY, **settings)
    sampled = command("verify", *_ONLY, "--sample", "10", **settings)
    assert sampled.code == 0
    assert "clients: a sample of 10 of 30 rows" in sampled.out.splitlines()
    assert "nothing found in a sample of 10 of 30 rows, and equal counts" in sampled.out
    assert "verified" not in sampled.out
    assert sampled.out.splitlines()[-1] == "Next: botdata verify --tables clients"
    document = json.loads(command("verify", *_ONLY, "--sample", "10", "--json", **settings).out)
    assert (document["ok"], document["sample"], document["next"]) == (True, 10, "botdata verify --tables clients")
    (clients,) = document["tables"]
    assert (clients["sampled"], clients["equal"], clients["source_rows"]) == (10, 10, 30)
    execute(settings["DATABASE_URL"], "DELETE FROM clients WHERE id = 1; UPDATE clients SET name = 'x' WHERE id > 1")
    found = command("verify", *_ONLY, "--sample", "10", **settings)
    assert found.code == 1
    assert "clients: 30 rows in the source, 29 in the target" in found.out.splitlines()
    assert "NOT the same: the counts differ; 10 rows differ, of a sample of 10 of 30 rows" in found.out.splitlines()


def test_a_sample_whose_counts_differ(command: Command, settings: dict[str, str]) -> None:
    command("copy", *_ONLY, **settings)
    add_clients(settings["DATABASE_URL"], 1, first=31)
    found = command("verify", *_ONLY, "--sample", "10", **settings)
    assert found.code == 1
    assert "clients: 30 rows in the source, 31 in the target" in found.out.splitlines()
    assert "NOT the same: the counts differ; 0 rows differ, of a sample of 10 of 30 rows" in found.out.splitlines()
    assert found.out.splitlines()[-1] == "Next: botdata verify --tables clients"


def test_fix_of_a_sample_is_a_wrong_command_line(command: Command, settings: dict[str, str]) -> None:
    outcome = command("verify", "--fix", "--sample", "10", **settings)
    assert outcome.code == 2
    assert command("verify", "--sample", "0", **settings).code == 2


def test_fix_leaves_the_store_of_the_bot_alone(command: Command, settings: dict[str, str]) -> None:
    settings["USE_REPOSITORY_PATTERN"] = "true"
    refused = command("verify", *_ONLY, "--fix", **settings)
    assert refused.code == 1
    assert "botdata verify --fix stopped: USE_REPOSITORY_PATTERN says" in refused.err
    assert value(settings["DATABASE_URL"], "SELECT count(*) FROM clients") == 0
    assert command("verify", *_ONLY, "--fix", "--overwrite", **settings).code == 0
    assert command("verify", *_ONLY, **settings).code == 0


def test_what_is_next_while_a_cutover_is_under_way(command: Command, settings: dict[str, str]) -> None:
    target = settings["DATABASE_URL"]
    command("copy", *_ONLY, **settings)
    execute(target, "UPDATE botdata.stage SET stage = 'dualwrite', moved_at = now()")
    assert command("verify", *_ONLY, **settings).out.splitlines()[-1] == "Next: botdata cutover status"
    execute(target, "DELETE FROM clients WHERE id = 9")
    found = command("verify", *_ONLY, **settings)
    assert found.out.splitlines()[-1] == "Next: botdata verify --tables clients --fix"
    execute(target, "UPDATE botdata.stage SET stage = 'live'")  # the target's rows are the newer ones now
    _is_for_sync_reverse(command, settings)


def test_what_is_next_once_the_flag_says_that_the_target_is_the_store(
    command: Command, settings: dict[str, str]
) -> None:
    command("copy", *_ONLY, **settings)
    execute(settings["DATABASE_URL"], "DELETE FROM clients WHERE id = 9")
    _is_for_sync_reverse(command, settings | {"USE_REPOSITORY_PATTERN": "true"})


def _is_for_sync_reverse(command: Command, settings: dict[str, str]) -> None:
    document = json.loads(command("verify", *_ONLY, "--json", **settings).out)
    assert document["next"] == (
        "botdata sync --reverse --tables clients, since the target is their store, "
        "then: botdata verify --tables clients"
    )
    assert command("sync", "--reverse", "--accept", "source-triggers-unseen", *_ONLY, **settings).code == 0
    assert command("verify", *_ONLY, **settings).code == 0


def test_what_is_next_where_each_end_is_the_store_of_a_table(
    command: Command, settings: dict[str, str], source_database: str
) -> None:
    target, both = settings["DATABASE_URL"], ("--tables", "clients,messages")
    execute(
        source_database, "ALTER TABLE clients ALTER phone DROP NOT NULL; UPDATE clients SET phone = NULL WHERE id = 3"
    )
    command("copy", *both, **settings)
    execute(target, "UPDATE botdata.stage SET stage = 'live', moved_at = now()")
    # Of clients the target lacks the refused row alone, which is not for sync --reverse.
    assert (
        command("verify", *both, **settings).out.splitlines()[-1]
        == "Next: botdata quarantine list --tables clients,messages"
    )
    execute(source_database, "INSERT INTO messages DEFAULT VALUES")
    found = command("verify", *both, **settings)
    assert found.out.splitlines()[-1] == "Next: botdata verify --tables messages --fix"
    assert command("verify", "--tables", "messages", "--fix", **settings).code == 0
