"""`botdata cutover ...`: what each command does, what it says, and its documents."""

import re
from typing import Any

import pytest

from tests.cli.command import Command, Outcome
from tests.cli.test_json import check_document
from tests.fixtures.cutover import Pair

FOLLOWS = "CUTOVER_STAGE=database"
ONE = "bot-1:4711:a1b2c3"


class Cutover:
    """The group's commands on both stores."""

    def __init__(self, command: Command, pair: Pair) -> None:
        self._command = command
        self.pair = pair
        self.environment = {
            "SUPABASE_URL": pair.supabase.url,
            "SUPABASE_KEY": pair.supabase.service_key,
            "DATABASE_URL": pair.target,
        }

    def __call__(self, *words: str) -> Outcome:
        """Run one; it always says what to run next."""
        outcome = self._command("cutover", *words, **self.environment)
        assert "next:" in (outcome.out + outcome.err).lower() or outcome.code == 2
        return outcome

    def upgrade(self) -> Outcome:
        return self._command("upgrade", **self.environment)

    def document(self, *words: str) -> dict[str, Any]:
        """Run one with --json, and hold its document against docs/json.md and the exit code."""
        outcome = self._command("cutover", *words, "--json", **self.environment)
        document = check_document(outcome.out, f"cutover {words[0]}")
        assert outcome.code == (0 if document["ok"] else 1)
        return document

    def add_process(self, name: str = ONE, *, chosen_by: str = FOLLOWS, stage: str | None = None, age: int = 0) -> None:
        """A process as it last reported itself; it will not do so again."""
        self.pair.ask(
            "INSERT INTO botdata.processes (name, stage, chosen_by, reported_at, stage_since) SELECT %s, "
            "coalesce(%s, stage), %s, clock_timestamp() - make_interval(secs => %s), now() - interval '1 day' "
            "FROM botdata.stage",
            name, stage, chosen_by, age,
        )  # fmt: skip

    def stage(self) -> str:
        return str(self.pair.ask("SELECT stage FROM botdata.stage")[0][0])


@pytest.fixture
def cutover(command: Command, pair: Pair) -> Cutover:
    return Cutover(command, pair)


def test_nothing_moved_yet(cutover: Cutover) -> None:
    said = cutover("status").out
    assert "stage: off (no command has moved it yet); authority: Supabase" in said
    assert "no process of the bot reports itself: start the bot with CUTOVER_STAGE=database" in said
    assert "against dualwrite: no process of the bot reports itself" in said
    assert re.search(r"^bookings +Supabase +yes", said, re.MULTILINE)
    found = cutover.document("status")
    assert (found["stage"], found["moved_at"], found["next_stage"]) == ("off", None, "dualwrite")
    assert {one["table"]: one["own"] for one in found["tables"]}["clients"] is False
    assert cutover.document("history")["moves"] == []


def test_every_objection_is_listed_with_its_remedy(cutover: Cutover) -> None:
    cutover.add_process(chosen_by="USE_REPOSITORY_PATTERN=false")
    cutover.pair.ask(
        "INSERT INTO botdata.runs (command, source) VALUES ('copy', 'x'); INSERT INTO botdata.quarantine "
        "(run_id, table_name, key, row_text, sqlstate, message) VALUES (1, 'clients', '{7}', '{}', '23502', 'x')"
    )
    refused = cutover("advance")
    assert refused.code == 1
    assert (
        f"against it: process {ONE} does not follow moves: USE_REPOSITORY_PATTERN=false fixes its stage" in refused.out
    )
    assert "  remedy: restart it with CUTOVER_STAGE=database" in refused.out
    assert "against it: clients: 1 rows in quarantine" in refused.out
    assert "against it: never copied whole" in refused.out
    assert refused.out.count("remedy:") == refused.out.count("against it:") == 3
    assert "NOT moved: 3 things stand against the step from off to dualwrite; the stage stays" in refused.out
    assert "Next: each remedy; then: botdata cutover advance" in refused.out
    checked = cutover.document("advance", "--dry-run")
    assert (checked["moved"], checked["dry_run"], len(checked["objections"])) == (False, True, 3)
    assert cutover.pair.ask("SELECT stage, moved_at FROM botdata.stage") == [("off", None)]
    assert cutover.pair.ask("SELECT FROM botdata.moves") == []


def test_without_a_process_the_first_step_is_refused(cutover: Cutover) -> None:
    refused = cutover("advance")
    assert refused.code == 1
    assert "no process of the bot reports itself" in refused.out
    assert "start the bot with CUTOVER_STAGE=database and DATABASE_URL" in refused.out


def test_force_keeps_its_reason(cutover: Cutover) -> None:
    assert cutover("advance", "--force", " ").code == 2
    key = cutover.environment["SUPABASE_KEY"]
    moved = cutover("advance", "--force", f"an empty salon, of +7 900 000-00-07 with {key}")
    assert moved.code == 0
    assert "passed over: no process of the bot reports itself" in moved.out
    assert "the stage is dualwrite now, and was off; no process is behind" in moved.out
    (move,) = cutover.document("history")["moves"]
    assert (move["kind"], move["before"], move["to"], move["state"]) == ("advance", "off", "dualwrite", "done")
    assert move["reason"] == "an empty salon, of +7900***0007 with ***"
    assert "no process of the bot reports itself" in move["said"]
    assert "1 was forced: an empty salon, of +7900***0007 with ***" in cutover("history").out
    assert "Next: botdata cutover status" in cutover.upgrade().out  # and no copy, which would be refused
    checked = cutover.document("back", "--dry-run")
    assert (checked["ok"], checked["moved"], checked["next"]) == (True, False, "botdata cutover back")
    assert cutover.stage() == "dualwrite"
    assert cutover.document("back")["to"] == "off"
    last = cutover("back")
    assert (last.code, "NOT moved: the cutover is at off, which is the first stage" in last.out) == (1, True)


def test_a_process_that_does_not_follow_is_named(cutover: Cutover, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.cutover.moves.steps._FOLLOW_WITHIN", 0.2)
    cutover.add_process(age=3600)
    moved = cutover("advance", "--force", "a test")
    assert moved.code == 1
    assert f"process {ONE} does not report it: it is at off by {FOLLOWS}, and last reported 60 min ago" in moved.out
    assert f"if it has ended: botdata cutover forget {ONE}" in moved.out.splitlines()[-1]
    assert cutover.stage() == "dualwrite"


def test_what_is_late_at_the_barrier(cutover: Cutover) -> None:
    cutover.pair.set_stage("shadow")
    cutover.add_process()
    cutover.environment["CUTOVER_HOLD"] = "0.3"
    late = cutover("advance", "--force", "a test")
    assert late.code == 1
    assert f"late: process {ONE}: did not hold its writes in time (nothing in flight)" in late.out
    assert "NOT moved: not all was still within the hold of writes (CUTOVER_HOLD), and shadow has resumed" in late.out
    assert "then: botdata cutover advance" in late.out.splitlines()[-1]
    document = cutover.document("advance", "--force", "a test")
    assert len(document["late"]) == 1
    assert [move["state"] for move in cutover.document("history")["moves"]] == ["given up", "given up"]


def test_going_back_that_would_lose_writes(cutover: Cutover) -> None:
    cutover.pair.set_stage("live")
    cutover.pair.ask(
        "INSERT INTO botdata.outbox (process, table_name, key, attempts, last_error) "
        "VALUES ('x', 'clients', '{7}', 3, 'refused')"
    )
    refused = cutover("back")
    assert refused.code == 1
    assert "clients: 1 writes that Supabase does not have yet would be lost (last error: refused)" in refused.out
    assert "botdata mirror drain" in refused.out
    assert "or: botdata cutover back --force REASON, which loses them" in refused.out.splitlines()[-1]
    assert cutover.stage() == "live"
    assert cutover("back", "--force", "Supabase refuses it").code == 0
    assert cutover.stage() == "shadow"
    assert cutover.pair.ask("SELECT FROM botdata.outbox") == []
    assert "would be lost" in cutover.document("history")["moves"][0]["said"]


def test_the_end_of_the_way_back(cutover: Cutover) -> None:
    cutover.pair.set_stage("rampdown")
    early = cutover("finish", "--yes")
    assert early.code == 1
    assert "the way back ends at complete, and the cutover stands at rampdown" in early.err
    cutover.pair.set_stage("complete")
    cutover.pair.ask("INSERT INTO botdata.outbox (process, table_name, key) VALUES ('x', 'clients', '{7}')")
    asked = cutover._command("cutover", "finish", **cutover.environment)
    assert asked.code == 1
    assert "1 recorded entries are dropped" in asked.out
    assert "The writers of actions, bookings, company_sync_status, messages, staff still write to Supabase" in asked.out
    assert cutover.pair.ask("SELECT finished_at FROM botdata.stage") == [(None,)]
    assert len(cutover.pair.ask("SELECT FROM botdata.outbox")) == 1
    assert "botdata cutover finish, once" in cutover("status").out
    ended = cutover.document("finish", "--yes")
    assert (ended["dropped"], ended["finished_before"]) == (1, None)
    assert cutover.pair.ask("SELECT FROM botdata.outbox") == []
    again = cutover("finish", "--yes")
    assert (again.code, "the way back was ended before, at 2" in again.out) == (0, True)
    refused = cutover("back")
    assert refused.code == 1
    assert "would be missing in Supabase" in refused.out
    assert cutover.stage() == "complete"
    assert cutover("back", "--force", "a test").code == 0
    assert cutover.pair.ask("SELECT stage, finished_at FROM botdata.stage") == [("rampdown", None)]
    assert cutover("back").code == 0
    lossy = cutover("back")
    assert lossy.code == 1
    assert "what was written after botdata cutover finish was not recorded" in lossy.out
    tables = "clients,companies,dialog_contexts,services,staff_schedules"
    assert f"botdata sync --reverse --tables {tables}; botdata verify --tables {tables}" in lossy.out
    cutover.pair.ask(
        f"INSERT INTO botdata.verifications (source, table_name, began_at, differences) "
        f"SELECT 'x', unnest('{{{tables}}}'::text[]), clock_timestamp(), 0"
    )
    assert cutover("back").code == 0
    assert cutover.stage() == "shadow"


def test_what_was_recorded_is_sent_on_the_way_back(cutover: Cutover) -> None:
    cutover.pair.set_stage("complete")
    cutover.pair.ask(
        "INSERT INTO clients (id, yclients_id, company_id, phone, name) VALUES (5, 7, 1, '79000000007', 'Ася'); "
        "INSERT INTO botdata.outbox (process, table_name, key, unsure, next_attempt_at) "
        "VALUES ('x', 'clients', '{7,1}', false, now())"
    )
    assert cutover.pair.ask("SELECT FROM clients", store="source") == []
    assert cutover("back").code == 0
    assert cutover.pair.texts("clients", "source") == cutover.pair.texts("clients", "target")
    assert cutover.stage() == "rampdown"


def test_forgetting_a_process(cutover: Cutover) -> None:
    cutover.pair.set_stage("shadow")
    cutover.add_process()
    refused = cutover("forget", ONE)
    assert refused.code == 1
    assert re.search(rf"process {ONE} reported itself \d\.\d s ago: it runs", refused.err)
    unknown = cutover("forget", "bot-2")
    assert unknown.code == 1
    assert f"there is no process bot-2; those that are there: {ONE}" in unknown.err
    cutover.pair.ask("UPDATE botdata.processes SET reported_at = now() - interval '1 hour', spooled = 4")
    trouble = cutover("status")
    assert trouble.code == 1
    assert f"trouble: process {ONE} last reported 3,600 s ago, and counts as running at shadow" in trouble.out
    assert (
        f"if it has ended: botdata cutover forget {ONE}; then: botdata cutover status" in trouble.out.splitlines()[-1]
    )
    gone = cutover("forget", ONE)
    assert gone.code == 0
    assert "warning: its spool file held 4 notes" in gone.out
    assert "make sure that it has ended" in gone.out
    assert "Next: botdata sync" in gone.out
    assert cutover.pair.ask("SELECT FROM botdata.processes") == []
    assert cutover.pair.ask("SELECT left_at > now() - interval '1 minute' FROM botdata.last_left_note") == [(True,)]
    cutover.add_process()
    assert cutover.document("forget", ONE, "--force", "its machine burnt down")["process"] == ONE
    newest = cutover.document("history")["moves"][0]
    assert (newest["subject"], newest["reason"]) == (ONE, "its machine burnt down")


def test_a_table_whose_writer_moves(cutover: Cutover) -> None:
    for name, told in (("clients", "is written by the data layer, and moves with the stage"), ("x", "is not known")):
        refused = cutover("table", name, "postgres")
        assert refused.code == 1
        assert f"table {name} {told}; those with an authority of their own are actions, bookings" in refused.err
    unmoved = cutover("table", "bookings", "postgres", "--force", "a test")
    assert unmoved.code == 1
    assert "no command has moved the stage yet" in unmoved.err
    assert "next:    botdata cutover advance; then: botdata cutover table bookings postgres" in unmoved.err
    cutover.pair.set_stage("off")
    early = cutover("table", "bookings", "postgres")
    assert early.code == 1
    assert "the stage is off, where the bot reads bookings from Supabase" in early.out
    assert "bookings was never synced" in early.out
    assert "bookings was never verified" in early.out
    cutover.pair.set_stage("live")
    cutover.pair.ask(
        "INSERT INTO botdata.synced_tables (table_name, source, began_at) VALUES ('bookings', 'x', now()); "
        "INSERT INTO botdata.verifications (source, table_name, began_at, differences) "
        "VALUES ('x', 'bookings', now(), 2)"
    )
    differs = cutover("table", "bookings", "postgres")
    assert (differs.code, "the last verify of bookings found 2 differences" in differs.out) == (1, True)
    cutover.pair.ask("UPDATE botdata.verifications SET differences = 0")
    assert cutover.document("table", "bookings", "postgres", "--dry-run")["moved"] is False
    moved = cutover.document("table", "bookings", "postgres")
    assert (moved["ok"], moved["moved"], moved["before"]) == (True, True, "supabase")
    assert cutover.pair.ask("SELECT table_name, authority FROM botdata.table_authority") == [("bookings", "postgres")]
    again = cutover("table", "bookings", "postgres")
    assert (again.code, "its authority is PostgreSQL already" in again.out) == (0, True)
    stuck = cutover("back")
    assert (stuck.code, "bookings: its authority is PostgreSQL" in stuck.out) == (1, True)
    cutover.pair.ask("UPDATE botdata.verifications SET began_at = now() - interval '1 hour'")
    back = cutover("table", "bookings", "supabase")
    assert (back.code, "bookings was last verified 60 minutes ago" in back.out) == (1, True)
    assert "with its writer stopped: botdata sync --reverse --tables bookings; botdata verify" in back.out
    cutover.pair.ask("UPDATE botdata.verifications SET began_at = now()")
    assert cutover("table", "bookings", "supabase").code == 0


def test_a_table_that_no_method_reads_moves_while_supabase_is_the_authority(cutover: Cutover) -> None:
    cutover.pair.set_stage("shadow")
    cutover.pair.ask(
        "INSERT INTO botdata.synced_tables (table_name, source, began_at) VALUES ('messages', 'x', now()); "
        "INSERT INTO botdata.verifications (source, table_name, began_at, differences) "
        "VALUES ('x', 'messages', now(), 0)"
    )
    before = cutover.document("table", "messages", "postgres", "--dry-run")["objections"]
    assert cutover("table", "messages", "postgres").code == 0
    sequences = cutover.pair.ask(
        "SELECT pg_get_serial_sequence('messages', attname) FROM pg_attribute WHERE attrelid = 'messages'::regclass "
        "AND attnum > 0 AND pg_get_serial_sequence('messages', attname) IS NOT NULL"
    )
    for (sequence,) in sequences:
        assert cutover.pair.ask(f"SELECT last_value >= 1000000 FROM {sequence}") == [(True,)]
    assert len(before) == len(sequences)


@pytest.mark.parametrize(
    "words", [["status"], ["advance"], ["back"], ["finish", "--yes"], ["forget", "x"], ["history"]]
)
@pytest.mark.first_command
def test_a_target_without_the_tools_schema(command: Command, database_url: str, words: list[str]) -> None:
    outcome = command("cutover", *words, DATABASE_URL=database_url)
    assert outcome.code == 1
    assert "its schema botdata is missing or of another version" in outcome.err
    assert "next:    botdata upgrade, as the owner of the target's schema" in outcome.err


def test_an_upgrade_makes_the_tools_schema(command: Command, fresh_database: str) -> None:
    assert command("upgrade", DATABASE_URL=fresh_database).code == 0
    assert "stage: off" in command("cutover", "status", DATABASE_URL=fresh_database).out


def test_status_where_supabase_is_away(cutover: Cutover) -> None:
    cutover.environment["SUPABASE_URL"] = "http://127.0.0.1:9"
    cutover.pair.set_stage("rampdown")
    assert cutover.document("status")["stage"] == "rampdown"
    cutover.pair.set_stage("off")
    assert any("Supabase" in one["what"] for one in cutover.document("status")["objections"])
