"""`botdata mirror status | drain | retry`: what waits in the outbox, and why, and what is done about it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.cutover.replication.to_supabase.drain import drain
from app.cutover.stages import Stage
from tests.cli.command import Command, Outcome
from tests.cli.test_json import check_document
from tests.fixtures.cutover import MakeSettings, Pair
from tests.support.page_server import PageServer

RECORD = (
    "INSERT INTO botdata.outbox (process, table_name, key, attempts, unsure, next_attempt_at, last_error) "
    "VALUES ('dead', %s, %s::text[], %s, %s, now() + %s::interval, %s)"
)
FIRST_OF_PHONE, SECOND_OF_PHONE = "7968", "4488"


class Mirror:
    """The command on a pair of stores."""

    def __init__(self, command: Command, pair: Pair) -> None:
        self._command = command
        self.pair = pair
        self.settings = {
            "SUPABASE_URL": pair.supabase.url,
            "SUPABASE_KEY": pair.supabase.service_key,
            "DATABASE_URL": pair.target,
            "CUTOVER_STAGE": "database",
            "OUTCOME_SETTLES_AFTER": "1",
        }

    def __call__(self, *words: str, **settings: str) -> Outcome:
        return self._command("mirror", *words, **{**self.settings, **settings})

    def document(self, *words: str) -> tuple[dict[str, Any], object]:
        outcome = self(*words, "--json")
        return check_document(outcome.out, f"mirror {words[0]}"), outcome.code

    def record(
        self,
        table: str,
        key: str,
        *,
        attempts: int = 0,
        unsure: bool = False,
        due: str = "0 s",
        error: str | None = None,
    ) -> int:
        self.pair.ask(RECORD, table, key, attempts, unsure, due, error)
        number: int = self.pair.ask("SELECT max(id) FROM botdata.outbox")[0][0]
        return number


@pytest.fixture
def mirror(command: Command, pair: Pair) -> Mirror:
    pair.set_stage("live")
    pair.ask(
        "INSERT INTO clients (yclients_id, company_id, phone) SELECT n, 1, n::text FROM generate_series(1, 3) n; "
        "INSERT INTO dialog_contexts (user_id) VALUES ('79684484488')"
    )
    return Mirror(command, pair)


def test_an_empty_outbox(mirror: Mirror) -> None:
    assert mirror("status").out == "stage: live; writes are sent to Supabase\noutbox: empty\n"
    document, code = mirror.document("drain")
    assert (document["before"], document["entries"], document["reason"], code) == (0, 0, None, 0)


def test_status_says_what_waits_and_why(mirror: Mirror) -> None:
    mirror.record("clients", "{1,1}")
    mirror.record("clients", "{1,1}")
    number = mirror.record("dialog_contexts", "{79684484488}", attempts=3, error="a constraint refuses the row")
    outcome = mirror("status")
    assert outcome.code == 1
    assert "7968***4488" in outcome.out
    assert "79684484488" not in outcome.out
    assert outcome.out.endswith("Next: put right what is said, then: botdata mirror retry\n")
    document, code = mirror.document("status")
    assert (document["stage"], document["entries"], document["in_error"], code) == ("live", 3, 1, 1)
    assert [(one["table"], one["entries"], one["keys"], one["in_error"]) for one in document["tables"]] == [
        ("clients", 2, 1, 0), ("dialog_contexts", 1, 1, 1),
    ]  # fmt: skip
    (failed,) = document["failed"]
    assert (failed["number"], failed["key"], failed["attempts"], failed["error"]) == (
        number, ["7968***4488"], 3, "a constraint refuses the row",
    )  # fmt: skip
    assert mirror("status", "--limit", "0").out.count("constraint") == 0


def test_drain_sends_all_that_there_is(mirror: Mirror) -> None:
    mirror.record("clients", "{1,1}")
    mirror.record("clients", "{2,1}", attempts=7, due="1 h", error="refused")
    mirror.record("clients", "{3,1}", unsure=True)  # of a process that may have sent it
    mirror.record("dialog_contexts", "{79684484488}", due="2 s")
    outcome = mirror("drain")
    assert (outcome.code, outcome.out) == (0, "4 entries are done, 0 are left\n")
    assert "mirror outbox: 4 of 4 rows" in outcome.err
    for table in ("clients", "dialog_contexts"):
        assert mirror.pair.texts(table, "source") == mirror.pair.texts(table, "target") != []


def test_drain_says_what_is_left(mirror: Mirror) -> None:
    for number in (1, 2, 3):
        mirror.record("clients", f"{{{number},1}}")
    mirror.pair.ask("ALTER TABLE clients ADD CONSTRAINT refuses CHECK (yclients_id <> 2)", store="source")
    try:
        with PageServer(mirror.pair.source) as pages:
            mirror.settings |= {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key}
            document, code = mirror.document("drain")
            assert (document["before"], document["entries"], document["in_error"], code) == (3, 1, 1, 1)
            assert document["reason"] == "1 entries are refused by Supabase, or their outcome is not known"
            assert document["failed"][0]["error"] == "a constraint refuses the row [SQLSTATE 23514]"
            number = document["failed"][0]["number"]
            assert "why: 1 entries are refused" in mirror("drain").out
            assert mirror("retry").code == 1
            mirror.pair.ask("ALTER TABLE clients DROP CONSTRAINT refuses", store="source")
            retried, code = mirror.document("retry", str(number))
            assert (retried["before"], retried["entries"], code) == (1, 0, 0)
            again, code = mirror.document("retry", str(number))
            assert (again["before"], again["absent"], again["entries"], code) == (0, [number], 0, 0)
    finally:
        mirror.pair.ask("ALTER TABLE clients DROP CONSTRAINT IF EXISTS refuses", store="source")
    assert mirror.pair.texts("clients", "source") == mirror.pair.texts("clients", "target")


def test_retry_names_the_entries_in_error(mirror: Mirror) -> None:
    mirror.record("clients", "{1,1}", due="1 h")
    mirror.record("clients", "{2,1}", attempts=7, due="1 h", error="refused")
    said = mirror("retry", "999").out
    assert "no entry, since it was sent meanwhile or there never was one: 999" in said
    document, code = mirror.document("retry")
    assert (document["before"], document["entries"], code) == (1, 1, 1)  # the other one was not asked for
    assert mirror.pair.ask("SELECT yclients_id FROM clients", store="source") == [(2,)]


def test_while_supabase_is_away(mirror: Mirror, unused_tcp_port: int) -> None:
    mirror.record("clients", "{1,1}")
    mirror.settings["SUPABASE_URL"] = f"http://127.0.0.1:{unused_tcp_port}"
    document, code = mirror.document("drain")
    assert (document["entries"], document["reason"], code) == (1, "Supabase cannot be reached", 1)
    assert document["failed"][0]["error"] == "Supabase cannot be reached"


def test_where_nothing_is_sent(mirror: Mirror) -> None:
    mirror.record("clients", "{1,1}")
    mirror.pair.set_stage("shadow")
    document, code = mirror.document("drain")
    assert (document["reason"], code) == ("at the stage shadow nothing is sent to Supabase from the outbox", 1)
    mirror.pair.set_stage("complete")
    document, code = mirror.document("drain")
    assert "cutover back sends them" in document["reason"]
    assert mirror.document("status")[1] == 0  # as it should be there
    mirror.pair.ask("UPDATE botdata.stage SET finished_at = now()")
    assert "finish" in mirror.document("drain")[0]["reason"]
    assert mirror.pair.texts("clients", "source") == []


async def test_recorded_entries_can_be_sent_for_the_way_back(mirror: Mirror, settings_of: MakeSettings) -> None:
    for number in (1, 2, 3):
        mirror.record("clients", f"{{{number},1}}")
    mirror.pair.set_stage(Stage.COMPLETE)
    told: list[tuple[int, int]] = []
    done = await drain(settings_of(), sends_recorded=True, on_progress=lambda *left: told.append(left))
    assert (done.complete, done.entries, done.reason) == (True, 3, None)
    assert (told[0], told[-1]) == ((3, 3), (0, 3))
    assert mirror.pair.texts("clients", "source") == mirror.pair.texts("clients", "target")
    mirror.record("clients", "{1,1}")
    mirror.pair.ask("UPDATE botdata.stage SET finished_at = now()")
    assert not (await drain(settings_of(), sends_recorded=True)).complete


@pytest.mark.first_command
def test_a_target_without_the_tool_s_schema(mirror: Mirror, database_url: str) -> None:
    outcome = mirror("status", DATABASE_URL=database_url)
    assert outcome.code == 1
    assert "the target has no outbox" in outcome.err
    assert "botdata upgrade" in outcome.err


def test_a_stop_in_a_document(mirror: Mirror) -> None:
    outcome = mirror("status", "--json", DATABASE_URL="postgresql://x@127.0.0.1:9/x")
    assert outcome.code == 1
    document = json.loads(outcome.out)
    told = "the target (DATABASE_URL): PostgreSQL cannot be reached"
    assert (document["command"], document["error"]["message"]) == ("mirror status", told)
