"""`botdata cutover report`: what every process counted, in words and as a document."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.common.latency import Latencies
from tests.cli.command import Command
from tests.cli.test_json import check_document
from tests.cutover.comparing import both, compared
from tests.fixtures.cutover import MakeSettings, Pair

COUNTS = (
    "INSERT INTO botdata.comparisons (process, minute, stage, method, against_itself, calls, equal, different, error, "
    "skipped, authority_latency, other_latency) VALUES (%s, clock_timestamp() - %s * interval '1 minute', %s, "
    "'get_company', %s, %s, %s, %s, %s, %s, %s, %s)"
)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Any) -> Command:
    return Command(monkeypatch, capsys, tmp_path)


def taking(seconds: float, calls: int) -> list[int]:
    """The buckets of so many calls that took so long."""
    latencies = Latencies()
    for _ in range(calls):
        latencies.add(seconds)
    return latencies.counts


def test_minutes_and_processes_are_added_up(pair: Pair, command: Command) -> None:
    fast, slow = taking(0.001, 99), taking(0.1, 1)
    pair.ask(COUNTS, "p", 1, "shadow", False, 99, 50, 1, 2, 3, fast, taking(0.004, 50))
    pair.ask(COUNTS, "q", 90, "shadow", False, 1, 1, 0, 0, 0, slow, taking(0.004, 1))
    pair.ask(COUNTS, "q", 2, "live", False, 10, 10, 0, 0, 0, taking(0.002, 10), taking(0.008, 10))
    pair.ask(COUNTS, "q", 2, "shadow", True, 7, 6, 1, 0, 0, taking(0.001, 7), taking(0.001, 7))
    pair.ask(COUNTS, "q", 3000, "shadow", False, 500, 500, 0, 0, 0, [], [])
    outcome = command("cutover", "report", "--json", DATABASE_URL=pair.target)
    assert outcome.code == 0
    document = check_document(outcome.out, "cutover report")
    shadow, live, itself = document["methods"]
    assert {**shadow, "postgres_p50": 0, "supabase_p50": 0, "supabase_p99": 0, "postgres_p99": 0} == {
        "stage": "shadow", "method": "get_company", "against_itself": False, "calls": 100, "compared": 52, "equal": 51,
        "different": 1, "accepted": 0, "error": 2, "skipped": 3, "compared_share": 0.52, "different_share": 0.019231,
        "supabase_p50": 0, "supabase_p99": 0, "postgres_p50": 0, "postgres_p99": 0,
    }  # fmt: skip
    assert shadow["supabase_p50"] == shadow["supabase_p99"] == pytest.approx(0.001, rel=0.1)
    assert shadow["postgres_p50"] == pytest.approx(0.004, rel=0.1)
    assert live["postgres_p50"] == pytest.approx(0.002, rel=0.1)
    assert live["supabase_p50"] == pytest.approx(0.008, rel=0.1)
    assert (itself["against_itself"], itself["calls"], itself["different"]) == (True, 7, 1)
    assert itself["postgres_p50"] is None
    recent = command("cutover", "report", "--json", "--hours", "1", DATABASE_URL=pair.target)
    assert check_document(recent.out, "cutover report")["methods"][0]["calls"] == 99
    told = command("cutover", "report", DATABASE_URL=pair.target)
    assert told.code == 0
    lines = [line.split() for line in told.out.splitlines()]
    assert ["shadow", "get_company", "100", "52", "51", "1", "0", "2", "3", "52.00", "1.92"] in [
        line[:11] for line in lines
    ]
    assert "report: 62 answers compared in the last 24 h, 1 different." in told.out
    assert command("cutover", "report", "--hours", "100", DATABASE_URL=pair.target).code == 2  # older ones are deleted


def test_a_planted_digit_is_reported_by_field(pair: Pair, settings_of: MakeSettings, command: Command) -> None:
    both(pair, "clients", {"id": 7, "yclients_id": 7, "company_id": 5, "name": "Planted", "phone": "79684484488",
                           "total_spent": "48151.62"})  # fmt: skip
    pair.ask("UPDATE clients SET total_spent = 48151.63")

    async def ask() -> None:
        async with compared(settings_of()) as data:
            await data.get_client_by_phone("79684484488")

    asyncio.run(ask())
    told = command("cutover", "report", DATABASE_URL=pair.target)
    assert told.code == 0
    assert "1 x get_client_by_phone: total_spent (Decimal) (shadow; since 2" in told.out
    assert "get_client_by_phone(phone=7968***4488, company_id=None)" in told.out
    assert "  total_spent: Decimal | Decimal, hashes " in told.out
    assert "1 different. Next: botdata verify" in told.out
    outcome = command("cutover", "report", "--json", DATABASE_URL=pair.target)
    (difference,) = check_document(outcome.out, "cutover report")["differences"]
    assert (difference["method"], difference["cause"], difference["count"]) == (
        "get_client_by_phone", "total_spent (Decimal)", 1,
    )  # fmt: skip
    (field,) = difference["fields"]
    assert (field["path"], field["types"], field["values"]) == ("total_spent", ["Decimal", "Decimal"], None)
    for secret in ("79684484488", "Planted", "48151"):
        assert secret not in told.out + outcome.out


def test_nothing_compared_yet(pair: Pair, command: Command) -> None:
    told = command("cutover", "report", DATABASE_URL=pair.target)
    assert told.code == 0
    assert "report: 0 answers compared in the last 24 h, 0 different. Next: botdata cutover status" in told.out


def test_a_target_without_a_cutover(command: Command, fresh_database: str) -> None:
    told = command("cutover", "report", DATABASE_URL=fresh_database)
    assert told.code == 1
    assert "next:    botdata upgrade" in told.err
