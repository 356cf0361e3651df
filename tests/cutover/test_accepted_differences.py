"""`botdata cutover accept`: a known difference is out of the gate's way up to a day, and stays in sight."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.cutover.moves.gates.id_gap import raise_sequences
from app.cutover.moves.gates.objections import Objection
from app.cutover.stages import Stage
from tests.cli.command import Command, Outcome
from tests.cli.test_json import check_document
from tests.cutover.comparing import both, compared
from tests.fixtures.cutover import MakeSettings, Pair
from tests.fixtures.gates import Ready

METHOD = "get_client_by_phone"
PHONE = "79684484488"
REASON = "shown without its scale since 2026-11-20; ask +7 968 448-44-88, key sb_secret_planted"
DAY = str(datetime.now(UTC).date() + timedelta(days=9))
KNOWN = ("cutover", "accept", METHOD, "total_spent", "--reason", REASON, "--until", DAY)


class Differing:
    """Both stores at shadow, with nothing in the gate's way but a client that differs."""

    def __init__(self, pair: Pair, settings_of: MakeSettings, command: Command) -> None:
        self.ready = Ready(pair, settings_of())
        self.pair = pair
        self._settings_of = settings_of
        self._command = command
        self.ready.reach(Stage.SHADOW)
        asyncio.run(raise_sequences(self.ready.settings))
        both(pair, "clients", {"id": 7, "yclients_id": 7, "company_id": 5, "phone": PHONE, "total_spent": "1.50"})
        self.differ("total_spent = 1.51")

    def differ(self, change: str, *, store: str = "target", stage: str = "shadow") -> None:
        """Change the client of a store, and have the bot ask for it."""
        self.pair.ask(f"UPDATE clients SET {change}", store=store)

        async def ask() -> None:
            async with compared(self._settings_of(), stage, process=change) as data:  # each counts its own minutes
                await data.get_client_by_phone(PHONE)

        asyncio.run(ask())

    def botdata(self, *words: str) -> Outcome:
        """A command on the target."""
        return self._command(*words, DATABASE_URL=self.pair.target)

    def document(self, *words: str) -> dict[str, Any]:
        """The document of a command that does well."""
        outcome = self.botdata(*words, "--json")
        assert outcome.code == 0, outcome.err
        return check_document(outcome.out, " ".join(words[:2]))

    def against(self) -> list[Objection]:
        """What stands against live."""
        return asyncio.run(self.ready.against_next())


@pytest.fixture
def differing(
    pair: Pair,
    settings_of: MakeSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Any,
) -> Differing:
    return Differing(pair, settings_of, Command(monkeypatch, capsys, tmp_path))


def test_what_is_accepted_is_in_no_gates_way_and_stays_in_sight(differing: Differing) -> None:
    (objection,) = differing.against()
    assert f"{METHOD}: 1 confirmed differences in the last 24 h at shadow" in objection.what
    assert "botdata cutover accept" in objection.remedy
    accepted = differing.document(*KNOWN)["accepted"]
    assert [(one["method"], one["field"], one["places"], one["until"], one["ended"]) for one in accepted] == [
        (METHOD, "total_spent", ["total_spent (Decimal)"], DAY, False)
    ]
    assert differing.against() == []
    report = differing.document("cutover", "report")
    assert [(one["different"], one["accepted"]) for one in report["methods"]] == [(1, 1)]
    assert [one["accepted"] for one in report["differences"]] == [True]
    assert report["accepted"] == accepted
    assert report["next"] == "botdata cutover status"
    said = differing.botdata("cutover", "report").out
    assert "1 different, 1 of them accepted" in said
    line = f"accepted until {DAY}: {METHOD}: total_spent (Decimal) (by {accepted[0]['accepted_by']}: shown without"
    for words in (["report"], ["status"], ["accept", "--list"]):
        assert line in differing.botdata("cutover", *words).out
    (move,) = differing.document("cutover", "history")["moves"]
    assert (move["kind"], move["subject"], move["done_by"]) == (
        "accept", f"{METHOD} total_spent", accepted[0]["accepted_by"],
    )  # fmt: skip
    assert (move["reason"], move["said"]) == (accepted[0]["reason"], f"total_spent (Decimal), until {DAY}")
    assert "1 reason: shown without its scale" in differing.botdata("cutover", "history").out
    kept = str(
        differing.pair.ask("SELECT reason FROM botdata.accepted_differences UNION ALL SELECT reason FROM botdata.moves")
    )
    assert (kept.count("since 2026-11-20; ask +7968***4488, key ***"), "planted" in kept) == (2, False)


def test_another_field_or_another_type_of_value_still_counts(differing: Differing) -> None:
    differing.document(*KNOWN)
    differing.differ("name = 'B'")  # together with total_spent
    (objection,) = differing.against()
    assert f"{METHOD}: 1 confirmed differences that are not accepted (1 more are) in" in objection.what
    assert differing.document("cutover", "report")["next"].startswith("botdata verify")
    differing.document("cutover", "accept", METHOD, "name", *KNOWN[4:])
    assert differing.against() == []
    differing.differ("total_spent = NULL, name = NULL")
    (objection,) = differing.against()
    assert "1 confirmed differences that are not accepted (2 more are)" in objection.what


def test_one_that_has_ended_counts_again(differing: Differing) -> None:
    differing.document(*KNOWN)
    differing.pair.ask("UPDATE botdata.accepted_differences SET until = (now() AT TIME ZONE 'UTC')::date")
    assert differing.against() == []  # the day itself
    differing.pair.ask("UPDATE botdata.accepted_differences SET until = until - 1")
    (ended,) = differing.document("cutover", "accept", "--list")["accepted"]
    assert ended["ended"] is True
    (objection,) = differing.against()
    assert f"total_spent was accepted until {ended['until']}, and counts again" in objection.what
    assert (
        f"was accepted until {ended['until']}, and counts again: {METHOD}" in differing.botdata("cutover", "report").out
    )
    differing.document(*KNOWN)
    assert differing.against() == []


def test_one_that_is_withdrawn_counts_again(differing: Differing) -> None:
    differing.document(*KNOWN)
    assert differing.document("cutover", "accept", METHOD, "total_spent", "--withdraw")["accepted"] == []
    assert len(differing.against()) == 1
    kinds = [move["kind"] for move in differing.document("cutover", "history")["moves"]]
    assert kinds == ["withdraw", "accept"]
    again = differing.botdata("cutover", "accept", METHOD, "total_spent", "--withdraw")
    assert (again.code, f"total_spent of {METHOD} is not accepted; those that are: none" in again.err) == (1, True)
    assert "no difference is accepted" in differing.botdata("cutover", "accept", "--list").out


def test_what_never_differed_cannot_be_accepted(differing: Differing) -> None:
    for words, said in {
        ("get_clients", "name"): f"in the answers of get_clients; the methods that have one: {METHOD}",
        (METHOD, "nom"): f"of nom was confirmed in the answers of {METHOD}; the fields that differ: total_spent",
    }.items():
        refused = differing.botdata("cutover", "accept", *words, *KNOWN[4:])
        assert (refused.code, said in refused.err) == (1, True)
        assert "next:    botdata cutover report" in refused.err
    assert differing.pair.ask("SELECT FROM botdata.moves") == []


@pytest.mark.parametrize(
    "words",
    [
        (),
        (METHOD,),
        (METHOD, "name"),
        (METHOD, "name", "--reason", " ", "--until", DAY),
        (METHOD, "name", "--reason", "x"),
        (METHOD, "name", "--reason", "x", "--until", "2026-01-01"),
        (METHOD, "name", "--reason", "x", "--until", "soon"),
    ],
)
def test_a_wrong_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Any, words: tuple[str, ...]
) -> None:
    assert Command(monkeypatch, capsys, tmp_path)("cutover", "accept", *words).code == 2


def test_a_row_that_one_store_lacks_is_not_accepted(differing: Differing) -> None:
    """Which store lacks it, and which row it is, no place tells: all rows that go missing later would be accepted."""
    differing.document(*KNOWN)
    differing.differ("name = name; DELETE FROM clients")
    refused = differing.botdata("cutover", "accept", METHOD, "(row)", *KNOWN[4:])
    assert refused.code == 1
    assert "a row that one store lacks" in refused.err
    assert "botdata verify" in refused.err
    (objection,) = differing.against()
    assert "1 confirmed differences that are not accepted (1 more are)" in objection.what


def test_what_is_seen_at_another_stage_counts_until_it_is_accepted_there(differing: Differing) -> None:
    """There the other store is written first: what it lacks is lost by the mirrors, and no place tells which it is."""
    differing.differ("total_spent = NULL")
    differing.document(*KNOWN)
    differing.pair.set_stage("live")
    differing.pair.ask("UPDATE clients SET total_spent = 1.50")
    differing.differ("total_spent = NULL", store="source", stage="live")

    def accepted() -> dict[str, tuple[int, int]]:
        methods = differing.document("cutover", "report")["methods"]
        return {one["stage"]: (one["different"], one["accepted"]) for one in methods}

    assert accepted() == {"shadow": (2, 2), "live": (1, 0)}
    differing.document(*KNOWN)
    assert accepted() == {"shadow": (2, 2), "live": (1, 1)}
