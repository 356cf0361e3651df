"""`botdata status`: before, during and after a run, and of one that stopped."""

import json
from pathlib import Path

import psycopg
import pytest

from tests.cli.command import Command, start
from tests.migration.engine import add_clients, execute, value
from tests.support import faults
from tests.support.faults import Delivery, Fault, Request
from tests.support.page_server import PageServer


@pytest.fixture
def settings(pages: PageServer, source_database: str, database_url: str) -> dict[str, str]:
    add_clients(source_database, 30)
    return {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key, "DATABASE_URL": database_url}


def test_a_target_without_the_tools_schema(command: Command, settings: dict[str, str], fresh_database: str) -> None:
    outcome = command("status", DATABASE_URL=fresh_database)
    assert outcome.code == 0
    assert "the target has no schema botdata" in outcome.out
    assert outcome.out.endswith("Next: botdata copy\n")
    assert value(fresh_database, "SELECT to_regnamespace('botdata')") is None
    document = json.loads(command("status", "--json", DATABASE_URL=fresh_database).out)
    assert (document["installed"], document["runs"], document["run"]) == (False, [], None)


def test_a_run_that_stopped_and_one_that_is_complete(
    command: Command, settings: dict[str, str], pages: PageServer
) -> None:
    pages.max_rows = 10
    pages.hook = lambda request: faults.status(400) if request.parameter("id") == "gt.20" else None
    assert command("copy", "--tables", "clients,staff", **settings).code == 1
    pages.hook = lambda request: None
    stopped = json.loads(command("status", "--json", **settings).out)
    assert [(run["run"], run["state"], run["finished_at"]) for run in stopped["runs"]] == [(1, "stopped", None)]
    (clients,) = stopped["tables"]
    assert {name: clients[name] for name in ("table", "state", "rows", "source_rows", "left", "refused")} == {
        "table": "clients", "state": "copying", "rows": 20, "source_rows": 30, "left": 10, "refused": 0,
    }  # fmt: skip
    assert clients["rows_per_second"] > 0
    assert stopped["next"].startswith("botdata copy")

    assert command("copy", "--tables", "clients,staff", **settings).code == 0
    assert command("copy", "--tables", "messages", **settings).code == 0
    done = json.loads(command("status", "--json", **settings).out)
    assert [(run["run"], run["state"]) for run in done["runs"]] == [(2, "complete"), (1, "complete")]
    assert [table["table"] for table in done["tables"]] == ["messages"]
    assert done["next"] == "botdata verify"
    words = command("status", "--run", "1", **settings).out.splitlines()
    (line,) = [line.split() for line in words if line.startswith("clients ")]
    assert line[1:6] == ["complete", "30", "30", "0", "0"]
    unknown = command("status", "--run", "7", **settings)
    assert (unknown.code, "there is no run 7; the newest are: 2, 1" in unknown.err) == (1, True)


def test_rows_in_quarantine_and_foreign_keys_taken_away(
    command: Command, settings: dict[str, str], source_database: str
) -> None:
    execute(
        source_database, "ALTER TABLE clients ALTER phone DROP NOT NULL; UPDATE clients SET phone = NULL WHERE id=3"
    )
    assert command("copy", "--tables", "clients", **settings).code == 1
    outcome = command("status", **settings)
    assert "1 rows in quarantine: botdata quarantine list" in outcome.out
    (clients,) = json.loads(command("status", "--json", **settings).out)["tables"]
    assert (clients["rows"], clients["refused"], clients["left"]) == (29, 1, 0)
    execute(
        settings["DATABASE_URL"],
        "INSERT INTO botdata.foreign_keys (run_id, schema_name, table_name, name, referenced, definition, orphans) "
        "VALUES (1, 'public', 'staff', 'key', '', '', '')",
    )
    outcome = command("status", **settings)
    assert "foreign key key of staff: dropped; the run puts it back before it is complete" in outcome.out
    assert "Next: botdata sync, with the same source and tables: it puts the foreign keys back" in outcome.out


def test_a_run_that_is_at_work(
    command: Command, settings: dict[str, str], pages: PageServer, tmp_path: Path, database_url: str
) -> None:
    hanging = faults.delivered(Delivery.NEVER)
    reached: list[Request] = []

    def hang(request: Request) -> Fault | None:
        if request.parameter("id") == "gt.20" and (request.parameter("select") or "").count("::text") > 5:
            reached.append(request)
            return hanging
        return None

    pages.max_rows = 10
    pages.hook = hang
    with start("copy", "--tables", "clients,staff", directory=tmp_path, **settings) as process:
        try:
            for _ in range(1200):
                pages.stopping.wait(0.05)
                if reached or process.poll() is not None:
                    break
            for _ in range(100):
                document = json.loads(command("status", "--json", **settings).out)
                if document["tables"] and document["tables"][0]["rows"] == 20:
                    break
                pages.stopping.wait(0.1)
            second = command("copy", "--json", **settings)
        finally:
            process.kill()
            process.communicate(timeout=60)
    assert document["holder"].startswith("botdata copy, connected since ")
    assert [run["state"] for run in document["runs"]] == ["running"]
    assert document["tables"][0]["left"] == 10
    error = json.loads(second.out)["error"]
    assert (second.code, error["pending"]) == (1, "everything; nothing was written")
    assert "botdata copy, connected since" in error["message"]


def test_a_schema_of_another_version(command: Command, settings: dict[str, str]) -> None:
    assert command("copy", "--tables", "staff", **settings).code == 0
    execute(settings["DATABASE_URL"], "UPDATE botdata.version SET version = 99 WHERE version > 1")
    outcome = command("status", **settings)
    assert (outcome.code, "made by a newer botdata" in outcome.err) == (1, True)


def test_another_role_holds_the_lock(command: Command, settings: dict[str, str]) -> None:
    target = settings["DATABASE_URL"]
    with psycopg.connect(target, application_name="botdata sync") as other:
        other.execute("SELECT pg_advisory_lock(5287410332)")
        outcome = command("status", DATABASE_URL=target)
    assert "at work now: botdata sync, connected since" in outcome.out
