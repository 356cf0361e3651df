"""A comparison never slows, fails or changes an answer, keeps nothing about people, and stays within limits."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from functools import partial
from typing import Any

import pytest

from app.common.breaker import Breaker
from app.common.metrics import Metrics
from app.cutover.shadow.comparisons import Comparisons
from app.cutover.shadow.diff_record import DifferenceRecord
from app.cutover.shadow.log import ComparisonLog, Line
from app.cutover.shadow.log_saving import ComparisonSaving
from app.cutover.staged_backend import StagedBackend
from app.cutover.stages import Stage, Store
from app.data_layer import DataLayer
from app.migration.target.target_session import open_target
from app.state.cutover.comparisons import compared_methods
from app.stores.postgres.database import Database
from tests.cutover.comparing import Kept, both, causes, compared, kept
from tests.data_layer.relay import relay_to
from tests.fixtures.cutover import MakeSettings, Pair

PHONE = "79684484488"
LONELY = "79684484477"
NAME = "Planted Name"
SALON = 5


def clients(pair: Pair) -> None:
    for n in (1, 2, 3):
        both(pair, "clients", {"id": n, "yclients_id": n, "company_id": SALON, "name": f"{NAME} {n}",
                               "phone": PHONE if n < 3 else LONELY, "total_spent": "1.00"})  # fmt: skip


async def ended(data: DataLayer, number: int) -> None:
    async with asyncio.timeout(60):
        while data.metrics.total("comparisons") < number:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_an_error_that_both_stores_answer_with_is_equal(pair: Pair, settings_of: MakeSettings) -> None:
    clients(pair)
    async with compared(settings_of()) as data:
        assert (await data.get_client_by_phone(PHONE)).error_code == "ambiguous"
    assert kept(pair, "get_client_by_phone") == Kept(1, 1, 0, 0, 0)


async def test_a_store_that_is_down_is_an_error_and_then_left_alone(
    pair: Pair, settings_of: MakeSettings, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cutover.shadow.comparisons.Breaker", partial(Breaker, pause=3600.0))
    clients(pair)
    away = settings_of(supabase_url=f"http://127.0.0.1:{unused_tcp_port}")
    async with compared(away, "live") as data:
        for number in range(1, 6):
            assert (await data.get_client_by_id(1, SALON)).data.total_spent == 1
            await ended(data, number)
    assert kept(pair, "get_client_by_id") == Kept(5, 0, 0, 3, 2)
    assert data.metrics.total("comparisons", outcome="error", reason="unavailable") == 3
    assert data.metrics.total("comparisons", outcome="skipped", reason="store is down") == 2


async def test_an_authority_that_is_down_is_an_error_too(
    pair: Pair, settings_of: MakeSettings, unused_tcp_port: int
) -> None:
    async with compared(settings_of(supabase_url=f"http://127.0.0.1:{unused_tcp_port}")) as data:
        assert (await data.get_client_by_id(1, SALON)).error_code == "unavailable"
    tried = kept(pair, "get_client_by_id")
    assert (tried.calls, tried.error) == (3, 3)  # it is asked twice more


async def test_a_store_that_hangs_keeps_nobody_waiting_and_takes_no_more_than_its_places(
    pair: Pair, settings_of: MakeSettings
) -> None:
    clients(pair)
    async with relay_to(pair.target) as relay:
        relay.silent = True
        hanging = settings_of(database_url=relay.database_url, compare_at_once=2, close_timeout=0.3)
        async with compared(hanging) as data:
            answers = await asyncio.gather(*(data.get_client_by_id(1, SALON) for _ in range(7)))
            assert all(answer.success for answer in answers)
            await ended(data, 5)
            assert data.metrics.total("comparisons") == data.metrics.total("comparisons", reason="limit") == 5
    assert data.metrics.total("comparisons", outcome="skipped", reason="closed") == 2


async def test_a_slow_store_is_an_error_at_the_deadline(pair: Pair, settings_of: MakeSettings) -> None:
    clients(pair)
    async with relay_to(pair.target) as relay:
        relay.silent = True
        async with compared(settings_of(database_url=relay.database_url, compare_deadline=0.2)) as data:
            assert (await data.get_client_by_id(1, SALON)).success
            await ended(data, 1)
    assert data.metrics.total("comparisons", outcome="error", reason="timeout") == 1


@pytest.mark.parametrize("patience", [3600.0, 0.01])
async def test_a_comparison_waits_for_a_moment_without_calls(
    settings_of: MakeSettings, monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    monkeypatch.setattr("app.cutover.shadow.comparisons.PATIENCE", patience)
    asked: list[str] = []

    class Asked:
        def __init__(self, name: str) -> None:
            self._name = name

        async def read(self, method: str, arguments: Any) -> None:
            asked.append(self._name)

    stores: Any = {Store.SUPABASE: Asked("answer"), Store.POSTGRES: Asked("comparison")}
    comparisons = Comparisons(stores, None, settings_of(), "p", Metrics())

    async def read() -> None:
        await comparisons.read(Stage.SHADOW, "get_company", {"company_id": 1})

    async def compared_are(number: int) -> None:
        async with asyncio.timeout(60):
            while asked.count("comparison") < number:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    with comparisons.calls.answering():
        await read()
        await read()
        if patience < 1:  # not for ever
            await compared_are(2)
        else:
            await asyncio.sleep(0.05)
            assert asked == ["answer", "answer"]
    await compared_are(2)
    await comparisons.close()


async def test_what_is_cancelled_at_the_end_is_waited_for(settings_of: MakeSettings) -> None:
    asked = asyncio.Event()
    ends: list[str] = []

    class Answering:
        async def read(self, method: str, arguments: Any) -> None: ...

        async def close(self) -> None:
            ends.append("store")

    class Hanging(Answering):
        async def read(self, method: str, arguments: Any) -> None:
            asked.set()
            try:
                await asyncio.sleep(3600)
            finally:
                await asyncio.sleep(0.05)  # a driver's word with its server
                ends.append("comparison")

    stores: Any = {Store.SUPABASE: Answering(), Store.POSTGRES: Hanging()}
    comparisons = Comparisons(stores, None, settings_of(close_timeout=0.1), "p", Metrics())
    await comparisons.read(Stage.SHADOW, "get_company", {"company_id": 1})
    async with asyncio.timeout(60):
        await asked.wait()
    member: Any = Answering()
    await StagedBackend(member, stores, {}, comparisons).close()
    assert ends == ["store", "comparison", "store", "store"]  # the membership, then before the pools are closed


class Faulty:
    """A store whose program is wrong."""

    async def read(self, method: str, arguments: Any) -> None:
        raise RuntimeError("planted")


async def test_a_fault_of_the_comparison_is_not_the_caller_s(
    settings_of: MakeSettings, caplog: pytest.LogCaptureFixture
) -> None:
    class Sound:
        async def read(self, method: str, arguments: Any) -> None:
            return None

    metrics = Metrics()
    stores: Any = {Store.SUPABASE: Sound(), Store.POSTGRES: Faulty()}
    comparisons = Comparisons(stores, None, settings_of(), "p", metrics)
    answer = await comparisons.read(Stage.SHADOW, "get_company", {"company_id": 1})
    await comparisons.close()
    assert answer is None
    assert metrics.total("comparisons", outcome="error", reason="fault") == 1
    assert "RuntimeError" in caplog.text
    assert "planted" not in caplog.text


async def test_what_the_caller_does_with_its_answer_is_not_compared(pair: Pair, settings_of: MakeSettings) -> None:
    clients(pair)
    pair.ask("DELETE FROM clients")
    async with compared(settings_of()) as data:
        found = (await data.search_clients_by_name(SALON, NAME)).data
        assert found is not None
        found.clear()  # as PostgreSQL answers
    assert kept(pair, "search_clients_by_name").different == 1


@pytest.mark.parametrize("stage", ["off", "dualwrite", "rampdown", "complete"])
async def test_other_stages_compare_nothing(pair: Pair, settings_of: MakeSettings, stage: str) -> None:
    async with compared(settings_of(), stage) as data:
        await data.get_company(1)
    assert kept(pair, "get_company") == Kept(1, 0, 0, 0, 0)


async def test_sampling(pair: Pair, settings_of: MakeSettings) -> None:
    async with compared(settings_of(compare_sampling=0)) as data:
        await data.get_company(1)
    assert kept(pair, "get_company") == Kept(1, 0, 0, 0, 1)
    assert data.metrics.total("comparisons", outcome="skipped", reason="sampling") == 1


@pytest.mark.parametrize("stage", ["off", "shadow", "live"])
async def test_the_authority_against_itself_is_kept_apart(pair: Pair, settings_of: MakeSettings, stage: str) -> None:
    clients(pair)
    pair.ask("UPDATE clients SET total_spent = 2")
    async with compared(settings_of(compare_with_itself=True), stage) as data:
        await data.get_client_by_id(1, SALON)
    assert kept(pair, "get_client_by_id") == Kept(1, 0, 0, 0, 0)
    assert kept(pair, "get_client_by_id", against_itself=True) == Kept(1, 1, 0, 0, 0)
    assert causes(pair) == []


@pytest.mark.parametrize("with_values", [False, True])
async def test_nothing_about_people_is_kept_unless_asked_for(
    pair: Pair, settings_of: MakeSettings, caplog: pytest.LogCaptureFixture, with_values: bool
) -> None:
    caplog.set_level(logging.INFO)
    clients(pair)
    context = {"id": f"00000000-0000-0000-0000-{1:012}", "user_id": f"{PHONE}@c.us"}
    both(pair, "dialog_contexts", {**context, "data": json.dumps({"who": NAME})})
    pair.ask("UPDATE clients SET name = 'Planted Other', total_spent = 98765.01")
    pair.ask("""UPDATE dialog_contexts SET data = '{"who": "Planted Other"}'""")
    async with compared(settings_of(compare_values=with_values)) as data:
        await data.get_client_by_phone(LONELY)
        await data.get_dialog_context(f"{PHONE}@c.us")
        await data.search_clients_by_name(SALON, NAME)
    told = json.dumps(pair.ask("SELECT d::text FROM botdata.differences d ORDER BY method")) + caplog.text
    assert len(pair.ask("SELECT FROM botdata.differences")) == 3
    assert (NAME in told) is with_values
    assert ("98765.01" in told) is with_values
    for secret in (PHONE[3:], LONELY[3:], *([] if with_values else ["Planted"])):
        assert secret not in told
    ((arguments, fields),) = pair.ask(
        "SELECT arguments, fields FROM botdata.differences WHERE method = 'get_client_by_phone'"
    )
    assert arguments == "phone=7968***4477, company_id=None"
    assert [(field["path"], field["types"]) for field in fields] == [
        ("name", ["str", "str"]), ("total_spent", ["Decimal", "Decimal"]),
    ]  # fmt: skip
    assert all(len(set(field["hashes"])) == 2 for field in fields)
    if with_values:
        assert fields[1]["values"] == ["1.00", "98765.01"]


async def test_one_cause_is_one_line(pair: Pair, settings_of: MakeSettings) -> None:
    clients(pair)
    pair.ask("UPDATE clients SET total_spent = total_spent + id")
    for process in ("p", "q"):
        async with compared(settings_of(), process=process) as data:
            for number in (1, 2, 3):
                await data.get_client_by_id(number, SALON)
                await ended(data, number)
    assert causes(pair) == [("get_client_by_id", "total_spent (Decimal)", 6)]
    assert kept(pair, "get_client_by_id") == Kept(6, 0, 6, 0, 0)


LINE = Line(Stage.SHADOW, "get_company")


async def test_counts_survive_a_target_that_is_away_and_are_not_doubled(pair: Pair, unused_tcp_port: int) -> None:
    log = ComparisonLog("p")
    log.counts(LINE).calls += 1
    log.add_difference(LINE, DifferenceRecord(["title (str)"], "company_id=1", []))
    away = Database(f"postgresql://x@127.0.0.1:{unused_tcp_port}/x", pool_timeout=1)
    database = Database(pair.target)
    with pytest.raises(Exception, match="cannot be reached"):
        await log.save(away)
    log.counts(LINE).calls += 1
    log.add_difference(LINE, DifferenceRecord(["title (str)"], "company_id=1", []))
    for _ in range(3):
        await log.save(database)
    log.counts(LINE).calls += 1
    await log.save(database)
    assert kept(pair, "get_company").calls == 3
    assert causes(pair) == [("get_company", "title (str)", 2)]
    await away.close()
    await database.close()


@pytest.mark.parametrize("hours", [-50, 50])
async def test_differences_count_whatever_the_clock_of_the_machine_says(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """The gate goes by the server's clock: it would not see those of yesterday, and those of tomorrow for too long."""
    wrong = time.time() + hours * 3600
    monkeypatch.setattr("app.cutover.shadow.log.time.time", lambda: wrong)
    log = ComparisonLog("p")
    database = Database(pair.target)
    for _ in range(2):
        log.counts(LINE).outcomes["different"] += 1
        log.counts(LINE).calls += 1
        await log.save(database)
    await database.close()
    async with open_target(pair.target, step="test") as connection:
        assert await compared_methods(connection, Stage.SHADOW, 7200) == [("get_company", 2, 2, 0)]
    assert pair.ask("SELECT FROM botdata.comparisons WHERE minute > clock_timestamp()") == []


async def test_what_waits_for_the_target_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    log = ComparisonLog("p")
    for minute in range(1000):
        monkeypatch.setattr("app.cutover.shadow.log.time.time", lambda minute=minute: minute * 60.0)
        log.counts(LINE).calls += 1
        log.add_difference(LINE, DifferenceRecord([f"{minute} (str)"], "", []))
    assert len(log._minutes) == 60
    assert len(log._differences) == 200
    for number in range(100):
        log.add_difference(LINE, DifferenceRecord([f"{number} (str)"], "", []))
    assert len(log.counts(LINE).causes) == 50


async def test_old_counts_are_deleted(pair: Pair) -> None:
    pair.ask(
        "INSERT INTO botdata.comparisons (process, minute, stage, method) SELECT 'p', now() - days * interval '1 day', "
        "'shadow', 'm' FROM generate_series(0, 9) days"
    )
    database = Database(pair.target)
    await ComparisonLog("p").prune(database)
    await database.close()
    assert pair.ask("SELECT count(*) FROM botdata.comparisons") == [(3,)]


@pytest.mark.separate_server
async def test_old_counts_that_may_not_be_deleted_are_told_of(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    role = f"reader_{secrets.token_hex(4)}"
    pair.ask(f"CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA botdata TO {role}")
    database = Database(pair.target.replace("postgres@", f"{role}@"))
    saving = ComparisonSaving(ComparisonLog("p"), database, Metrics())
    await saving._prune()
    await database.close()
    pair.ask(f"DROP OWNED BY {role}; DROP ROLE {role}")
    said = "old rows of botdata.comparisons and botdata.differences cannot be deleted: the role has no right"
    assert said in caplog.text
