"""What `botdata watch` knows: as a document, as figures, while the target is away, and with nobody's number in it."""

from __future__ import annotations

import asyncio
import io
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from app.cli.commands.watch.command import masker, watch_document
from app.cli.commands.watch.terminal import rendered
from app.privacy import mask_free_text
from app.watch.facts import Facts
from app.watch.metrics import metrics_text
from app.watch.watcher import Watcher
from tests.cli.command import Command
from tests.cli.test_json import check_document
from tests.fixtures.cutover import MakeSettings, Pair
from tests.support.relay import Relay, postgres_address
from tests.watch.conftest import MakePage
from tests.watch.planted import HOSTILE, PHONE, fill

_DASHBOARD = Path(__file__).parents[2] / "examples" / "grafana.json"
_SECRET = "planted-secret-of-the-metrics"


@pytest.fixture
def filled(pair: Pair) -> Pair:
    """A cutover with a bit of everything."""
    fill(pair)
    return pair


def test_one_look_in_a_document(command: Command, filled: Pair) -> None:
    settings = {
        "SUPABASE_URL": filled.supabase.url,
        "SUPABASE_KEY": filled.supabase.service_key,
        "DATABASE_URL": filled.target,
    }
    outcome = command("watch", "--json", **settings)
    found = check_document(outcome.out, "watch")
    assert (outcome.code, found["ok"], found["trouble"]) == (1, False, None)
    assert len(found["cutover"]["troubles"]) == 2
    assert "get_staff: 31 confirmed differences in the last 24 h at shadow" in str(found["cutover"]["objections"])
    assert {(one["table"], one["left"]) for one in found["status"]["tables"]} == {("companies", 0), (HOSTILE, 860_000)}
    assert found["syncing"] == [{"table": HOSTILE, "rows": 340, "left": 660, "rows_per_second": 170.0}]
    (staff,) = [one for one in found["comparisons"]["methods"] if one["method"] == "get_staff"]
    assert (staff["equal"], staff["different"], staff["error"]) == (38 * 31, 31, 31)
    assert 0.001 < staff["postgres_p50"] < 0.005 < 0.02 < staff["supabase_p50"] < 0.05
    assert len(found["minutes"]) == 31
    for wrong in (["--json", "--terminal"], ["--terminal", "--allow-moves"], ["--json", "--allow-moves"]):
        assert command("watch", *wrong, **settings).code == 2


def test_a_target_without_anything(command: Command, fresh_database: str) -> None:
    outcome = command("watch", "--json", DATABASE_URL=fresh_database)
    found = check_document(outcome.out, "watch")
    assert (outcome.code, found["cutover"], found["status"]["installed"]) == (0, None, False)
    away = command("watch", "--json", DATABASE_URL="postgresql://x@127.0.0.1:9/x")
    assert (away.code, json.loads(away.out)["error"]["step"]) == (1, "watch")


async def test_nothing_personal_in_any_answer(filled: Pair, page_of: MakePage, settings_of: MakeSettings) -> None:
    filled.ask(
        "UPDATE botdata.notes SET last_error = last_error || %s", f" {filled.supabase.service_key} and {_SECRET}"
    )
    filled.ask("INSERT INTO botdata.synced_tables (table_name, source, began_at) VALUES (%s, 'x', now())", PHONE)
    settings = settings_of(watch_metrics_token=_SECRET, migration_source="supabase")
    watcher = Watcher(settings)
    document = masker(settings)(watch_document(await watcher.once()))
    written = io.StringIO()
    Console(width=200, file=written).print(rendered(document))
    figures = metrics_text(watcher.facts, masker(settings))
    for text in (json.dumps(document), written.getvalue(), figures):
        assert PHONE not in text
        assert _SECRET not in text
        assert filled.supabase.service_key not in text
        assert "7968***4488" in text
        assert "bot-2:4712:b2c3d4" in text
    assert f'table="{HOSTILE}"'.replace("\"'", "\\\"'") in figures
    async with page_of() as page:
        await page.open()
        moved = await page.move("advance", "shadow")
        assert "7968***4488" in moved.text
        assert PHONE not in moved.text


def test_dates_and_names_of_processes_are_no_phones() -> None:
    text = "process a-1:47110815:012345 at 2026-11-29 20:08:23 UTC, 2026-11-29T20:08:23Z, standby 192.168.10.21:5432"
    assert mask_free_text(text) == text
    assert mask_free_text("call +7 (968) 448-44-88 or 2026-99-29") == "call +7968***4488 or ***"
    assert mask_free_text("with hunter22 in it", ["hunter22"]) == "with *** in it"


_METRIC = re.compile(r"^(botdata_\w+)(?:\{(.*)\})? ([0-9.e+-]+)$")


def _metrics(facts: Facts) -> dict[str, dict[str, float]]:
    """The figures, by name and labels; each in the text format, and of a metric that was declared."""
    found: dict[str, dict[str, float]] = {}
    declared: set[str] = set()
    for line in metrics_text(facts, lambda text: text).splitlines():
        if line.startswith("# TYPE "):
            declared.add(line.split()[2])
        elif not line.startswith("#"):
            match = _METRIC.match(line)
            assert match, line
            assert {match[1], re.sub("_(bucket|sum|count)$", "", match[1])} & declared, line
            found.setdefault(match[1], {})[match[2] or ""] = float(match[3])
    return found


async def test_the_figures_are_what_the_target_holds(filled: Pair, settings_of: MakeSettings) -> None:
    filled.ask(
        "INSERT INTO botdata.outbox (process, table_name, key, recorded_at) "
        "VALUES ('x', 'clients', '{7}', clock_timestamp() - interval '100 s')"
    )
    found = _metrics(await Watcher(settings_of()).once())
    assert found["botdata_up"] == {"": 1}
    assert {label: value for label, value in found["botdata_stage"].items() if value} == {'stage="shadow"': 1}
    assert found["botdata_copy_rows_left"]['table="companies"'] == 0
    assert found["botdata_outbox_pending"] == {'table="clients"': 1}
    assert 100 <= found["botdata_outbox_oldest_seconds"][""] < 160
    assert found["botdata_journal_failed"]['table="clients"'] == 1
    assert found["botdata_standby_lag_bytes"]['process="bot-1:4711:a1b2c3",standby="192.168.10.21:5432"'] == 8192
    assert found["botdata_reads_total"]['process="bot-1:4711:a1b2c3",by="standby"'] == 1234
    assert 420 <= found["botdata_process_heartbeat_age_seconds"]['process="bot-2:4712:b2c3d4"'] < 480
    assert found["botdata_comparisons_total"]['method="get_staff",result="different"'] == 31
    buckets = {
        label: value
        for label, value in found["botdata_call_seconds_bucket"].items()
        if label.startswith('store="postgres",method="get_staff"')
    }
    counts = list(buckets.values())
    assert counts == sorted(counts)
    assert counts[-1] == found["botdata_call_seconds_count"]['store="postgres",method="get_staff"'] == 31 * 40
    assert counts[0] == 0


async def test_counters_only_grow(filled: Pair, settings_of: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.watch.compared._EVERY", 0.0)
    watcher = Watcher(settings_of())
    name, label = "botdata_comparisons_total", 'method="get_staff",result="equal"'
    before = _metrics(await watcher.once())[name][label]
    filled.ask("UPDATE botdata.comparisons SET equal = equal + 2 WHERE minute > now() - interval '90 s'")
    grown = _metrics(await watcher.once())[name][label]
    assert before < grown <= before + 4
    filled.ask("DELETE FROM botdata.comparisons")  # as what is old is deleted
    filled.ask(
        "INSERT INTO botdata.comparisons (process, minute, stage, method, calls, equal) "
        "VALUES ('x', date_trunc('minute', now()) + interval '70 min', 'shadow', 'get_staff', 5, 5)"
    )
    assert _metrics(await watcher.once())[name][label] == grown + 5


async def test_the_dashboard_asks_for_figures_that_exist(filled: Pair, settings_of: MakeSettings) -> None:
    filled.ask("INSERT INTO botdata.outbox (process, table_name, key) VALUES ('x', 'clients', '{7}')")
    found = _metrics(await Watcher(settings_of()).once())
    text = _DASHBOARD.read_text(encoding="utf-8")
    panels = json.loads(text)["panels"]
    asked = {name for panel in panels for target in panel["targets"] for name in _named(target["expr"])}
    assert asked <= found.keys()
    shown = {re.sub("_(bucket|sum|count)$", "", name) for name in found}
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in asked} == shown
    for expression in (target["expr"] for panel in panels for target in panel["targets"]):
        labels = set(re.findall(r"\{\{(\w+)\}\}", str(panels)))
        assert labels <= {"table", "process", "stage", "method", "result", "store", "standby", "by"}
        assert expression.count("(") == expression.count(")")


def _named(expression: str) -> list[str]:
    return re.findall(r"botdata_\w+", expression)


@asynccontextmanager
async def _watching(watcher: Watcher) -> Any:
    task = asyncio.create_task(watcher.run())
    try:
        yield
    finally:
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _until(look: Callable[[], Facts], wanted: Callable[[Facts], bool]) -> Facts:
    deadline = time.monotonic() + 60
    while not wanted(look()):
        assert time.monotonic() < deadline, look()
        await asyncio.sleep(0.02)
    return look()


@pytest.fixture
def relay(pair: Pair) -> Iterator[Relay]:
    with Relay(postgres_address(pair.target)) as relay:
        yield relay


async def test_it_goes_on_when_the_target_is_back(
    pair: Pair, relay: Relay, settings_of: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("_PAUSE", 0.02), ("_AGAIN", 0.05), ("_PATIENCE", 0.3)):
        monkeypatch.setattr(f"app.watch.watcher.{name}", seconds)
    watcher = Watcher(settings_of(database_url=relay.way(pair.target)))
    async with _watching(watcher):
        await _until(watcher.show, lambda facts: facts.stage is not None)
        for trouble in (relay.cut, relay.hang):
            trouble()
            away = await _until(watcher.show, lambda facts: facts.trouble is not None)
            assert away.stage == "off"  # as it was seen last
            assert _metrics(away) == {"botdata_up": {"": 0}}
            pair.ask("UPDATE botdata.stage SET moved_at = now()")
            relay.heal()
            back = await _until(watcher.show, lambda facts: facts.trouble is None)
            assert back.cutover is not None


async def test_who_reads_figures_does_not_have_the_gate_asked(
    pair: Pair, settings_of: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.watch.watcher._PAUSE", 0.02)
    watcher = Watcher(settings_of())
    async with _watching(watcher):
        read = await _until(lambda: watcher.facts, lambda facts: facts.stage is not None)
        for _ in range(10):
            read = await _until(lambda: watcher.facts, lambda facts, last=read.seen_at: facts.seen_at != last)
        assert read.gate_asked_at is None
        await _until(watcher.show, lambda facts: facts.gate_asked_at is not None)
    monkeypatch.setattr("app.watch.watcher._SILENT", 0.0)
    assert re.fullmatch(r"the target has not answered for \d+ s", watcher.facts.trouble or "")


async def test_it_keeps_one_connection(pair: Pair, settings_of: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.watch.watcher._PAUSE", 0.02)
    watcher = Watcher(settings_of())
    sessions = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'botdata watch'"
    )
    async with _watching(watcher):
        first = await _until(watcher.show, lambda facts: facts.gate_asked_at is not None)
        (pid,) = pair.ask(sessions)
        pair.set_stage("dualwrite")
        await _until(watcher.show, lambda facts: facts.stage == "dualwrite" and facts.gate_asked_at is not None)
        assert first.cutover is not None
        assert first.cutover.objections
        assert pair.ask(sessions) == [pid]
