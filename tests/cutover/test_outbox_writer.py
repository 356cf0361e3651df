"""Writes while PostgreSQL is the authority reach Supabase, through the outbox, as they are there."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import date
from decimal import Decimal

import pytest

from app.common.metrics import Metrics
from app.cutover.replication.to_supabase.relay import Relay
from app.cutover.stages import Stage
from app.errors import (
    AuthorityMovedError,
    OutcomeUnknownError,
    RejectedError,
    StoreTimeoutError,
    UnrepresentableValueError,
)
from app.models import Client, DialogContext, StaffSchedule
from app.stores.outgoing_write import OutgoingWrite
from tests.cutover.outbox_writers import client, entries, let_an_hour_pass, relay_to_supabase, until, writer_of
from tests.fixtures.cutover import MakeSettings, Pair
from tests.support.page_server import PageServer
from tests.support.rounds import Rounds

pytestmark = pytest.mark.usefixtures("looks_often")


@pytest.mark.parametrize("stage", [Stage.LIVE, Stage.RAMPDOWN])
async def test_a_write_is_sent_and_its_entry_taken_out(pair: Pair, settings_of: MakeSettings, stage: Stage) -> None:
    pair.set_stage(stage)
    metrics = Metrics()
    async with writer_of(settings_of(mirror_wait=5), metrics=metrics) as writer:
        (row,) = await writer.upsert(
            stage,
            Client,
            [client(7, total_spent=Decimal("9999999999.99"), tags=["a,b", '"', ""], name="ё😀\\")],
            OutgoingWrite(),
        )
        assert (row.id, row.total_spent, writer.pending) == (1, Decimal("9999999999.99"), 0)
        context = {"user_id": "79990000001 ,()\"'", "data": {"n": [1, None]}, "messages": []}
        await writer.upsert(stage, DialogContext, [context], OutgoingWrite())
        await writer.upsert(stage, StaffSchedule, [{"staff_id": 3, "date": date(2026, 2, 28)}], OutgoingWrite())
        assert entries(pair) == []
    assert metrics.total("mirrors", outcome="sent", store="supabase") == 3
    for table in ("clients", "dialog_contexts", "staff_schedules"):
        assert pair.texts(table, "source") == pair.texts(table, "target") != []


async def test_numbers_keep_every_digit(pair: Pair, settings_of: MakeSettings) -> None:
    pair.set_stage("live")
    unbounded = "ALTER TABLE clients ALTER total_spent TYPE numeric"
    pair.ask(unbounded)
    pair.ask(unbounded, store="source")
    spent = "12345678901234567890.1234567890123456789"
    pair.ask(
        "INSERT INTO clients (id, yclients_id, company_id, phone, total_spent, preferences) "
        f"VALUES (5, 7, 1, '7', {spent}, '[1.10, {spent}]')"
    )
    try:
        with PageServer(pair.source) as pages:
            settings = settings_of(mirror_wait=5, supabase_url=pages.url, supabase_key=pages.service_key)
            async with writer_of(settings) as writer:
                await writer.upsert(Stage.LIVE, Client, [client(7)], OutgoingWrite())
        assert pair.texts("clients", "source") == pair.texts("clients", "target")
        assert pair.texts("clients", "source")[0].count(spent) == 2
    finally:
        pair.ask("TRUNCATE clients; ALTER TABLE clients ALTER total_spent TYPE numeric(12, 2)", store="source")


async def test_nothing_is_sent_at_complete(
    pair: Pair, settings_of: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.set_stage("complete")
    drains = Rounds(monkeypatch, Relay, "_drain")
    async with writer_of(settings_of(mirror_wait=0.2)) as writer:
        for stage in (Stage.COMPLETE, Stage.RAMPDOWN):  # the second as one who has not seen the move
            await writer.upsert(stage, Client, [client(7)], OutgoingWrite())
        await let_an_hour_pass(pair)
        await drains.go_by()  # a relay would come for them
    assert entries(pair) == [(["7", "1"], 0, False, False, None)]
    assert pair.texts("clients", "source") == []


@pytest.mark.parametrize(("rows", "requests"), [(200, 1), (450, 3)])
async def test_a_batch_is_one_request(pair: Pair, settings_of: MakeSettings, rows: int, requests: int) -> None:
    pair.set_stage("live")
    pair.ask(
        "CREATE SEQUENCE statements; CREATE FUNCTION one() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN PERFORM nextval(''statements''); RETURN NULL; END'; "
        "CREATE TRIGGER one AFTER INSERT ON clients FOR EACH STATEMENT EXECUTE FUNCTION one()",
        store="source",
    )
    try:
        async with writer_of(settings_of(mirror_wait=10)) as writer:
            await writer.upsert(Stage.LIVE, Client, [client(n) for n in range(rows)], OutgoingWrite())
        assert entries(pair) == []
        assert pair.texts("clients", "source") == pair.texts("clients", "target")
        assert pair.ask("SELECT last_value FROM statements", store="source") == [(requests,)]
    finally:
        pair.ask("DROP TRIGGER one ON clients; DROP FUNCTION one; DROP SEQUENCE statements", store="source")


async def test_one_bad_key_does_not_hold_up_the_others(
    pair: Pair, settings_of: MakeSettings, caplog: pytest.LogCaptureFixture
) -> None:
    pair.set_stage("live")
    pair.ask("ALTER TABLE clients ADD CONSTRAINT refuses CHECK (name <> 'bad')", store="source")
    try:
        with PageServer(pair.source) as pages:
            settings = settings_of(mirror_wait=10, supabase_url=pages.url, supabase_key=pages.service_key)
            async with writer_of(settings) as writer:
                rows = [client(n, name="bad" if n in {17, 18} else "good") for n in range(40)]
                assert len(await writer.upsert(Stage.LIVE, Client, rows, OutgoingWrite())) == 40
                ((seventeen, *said), (eighteen, *_)) = entries(pair)
                assert (seventeen, eighteen) == (["17", "1"], ["18", "1"])
                assert said == [1, False, False, "a constraint refuses the row [SQLSTATE 23514]"]
                assert len(pair.texts("clients", "source")) == 38
                # The next write of the key takes the old entry out, too.
                await writer.upsert(Stage.LIVE, Client, [client(17, name="good again")], OutgoingWrite())
                assert [key for key, *_ in entries(pair)] == [["18", "1"]]
    finally:
        pair.ask("ALTER TABLE clients DROP CONSTRAINT refuses", store="source")
    assert "bad" not in caplog.text


@pytest.mark.parametrize("there", ["(900, 7, 1, 'old')", "(2, 6, 1, 'old'), (1, 7, 1, 'old')"])
async def test_the_row_of_another_id_makes_place(pair: Pair, settings_of: MakeSettings, there: str) -> None:
    pair.set_stage("live")
    pair.ask(
        f"INSERT INTO clients (id, yclients_id, company_id, phone) VALUES {there}, (901, 7, 2, 'stays')",
        store="source",
    )
    async with writer_of(settings_of(mirror_wait=5)) as writer:
        await writer.upsert(Stage.LIVE, Client, [client(6), client(7)], OutgoingWrite())
    assert entries(pair) == []
    assert pair.ask("SELECT id, yclients_id, company_id FROM clients ORDER BY id", store="source") == [
        (1, 6, 1), (2, 7, 1), (901, 7, 2),
    ]  # fmt: skip


@pytest.mark.parametrize(("action", "left"), [("ON DELETE CASCADE", 900), ("ON DELETE SET NULL ON UPDATE CASCADE", 1)])
async def test_the_row_of_another_id_takes_no_row_of_others_with_it(
    pair: Pair, settings_of: MakeSettings, action: str, left: int
) -> None:
    pair.set_stage("live")
    pair.ask(
        "INSERT INTO clients (id, yclients_id, company_id, phone) VALUES (900, 7, 1, 'old'); "
        f"CREATE TABLE visits (client_id integer REFERENCES clients {action}); INSERT INTO visits VALUES (900)",
        store="source",
    )
    try:
        async with writer_of(settings_of(mirror_wait=5)) as writer:
            await writer.upsert(Stage.LIVE, Client, [client(7)], OutgoingWrite())
        assert pair.ask("SELECT client_id FROM visits", store="source") == [(left,)]
        assert pair.ask("SELECT id FROM clients", store="source") == [(left,)]
        assert [key for key, *_ in entries(pair)] == ([["7", "1"]] if left == 900 else [])
    finally:
        pair.ask("DROP TABLE visits", store="source")


async def test_a_row_that_is_gone_is_deleted(pair: Pair, settings_of: MakeSettings) -> None:
    pair.set_stage("live")
    async with writer_of(settings_of(mirror_wait=5)) as writer:
        await writer.upsert(Stage.LIVE, Client, [client(7), client(8), client(9)], OutgoingWrite())
        await writer.upsert(Stage.LIVE, StaffSchedule, [{"staff_id": 3, "date": date(2026, 2, 28)}], OutgoingWrite())
        pair.ask("DELETE FROM clients WHERE yclients_id <> 9; DELETE FROM staff_schedules")
        for table, key in (("clients", "{7,1}"), ("clients", "{8,1}"), ("staff_schedules", "{3,2026-02-28}")):
            pair.ask("INSERT INTO botdata.outbox (process, table_name, key, unsure, next_attempt_at) "
                     f"VALUES ('dead', '{table}', '{key}', false, now())")  # fmt: skip
        await until(lambda: entries(pair) == [])
    assert pair.ask("SELECT yclients_id FROM clients", store="source") == [(9,)]
    assert pair.texts("staff_schedules", "source") == []


async def test_a_json_null_that_both_have_stays_and_another_is_named(pair: Pair, settings_of: MakeSettings) -> None:
    pair.set_stage("live")
    for store in ("source", "target"):
        pair.ask(
            "INSERT INTO clients (id, yclients_id, company_id, phone, preferences) VALUES (5, 7, 1, '7', 'null')",
            store=store,
        )
    async with writer_of(settings_of(mirror_wait=5)) as writer:
        await writer.upsert(Stage.LIVE, Client, [client(7, name="new"), client(8)], OutgoingWrite())
        assert entries(pair) == []
        assert pair.texts("clients", "source") == pair.texts("clients", "target")
        pair.ask("UPDATE clients SET preferences = '{}' WHERE id = 5", store="source")
        await writer.upsert(Stage.LIVE, Client, [client(7, name="newer")], OutgoingWrite())
        ((key, *_, error),) = entries(pair)
        assert (key, error) == (["7", "1"], "clients.preferences holds JSON null, which cannot be sent to Supabase")


async def test_postgresql_s_refusal_is_the_answer(pair: Pair, settings_of: MakeSettings) -> None:
    pair.set_stage("live")
    pair.ask("ALTER TABLE clients ADD CONSTRAINT refuses CHECK (name <> 'bad')")
    pair.ask("INSERT INTO clients (id, yclients_id, company_id, phone, last_visit_date) "
             "VALUES (5, 9, 1, '7', 'infinity')")  # fmt: skip
    async with writer_of(settings_of(mirror_wait=5)) as writer:
        with pytest.raises(RejectedError):
            await writer.upsert(Stage.LIVE, Client, [client(7), client(8, name="bad")], OutgoingWrite())
        assert (entries(pair), pair.texts("clients", "source")) == ([], [])
        with pytest.raises(UnrepresentableValueError, match="carried out"):
            await writer.upsert(Stage.LIVE, Client, [client(9, name="written")], OutgoingWrite())
        await until(lambda: writer.pending == 0)
        assert pair.texts("clients", "source") == pair.texts("clients", "target") != []
        pair.set_stage("shadow")
        with pytest.raises(AuthorityMovedError):
            await writer.upsert(Stage.LIVE, Client, [client(7)], OutgoingWrite())


async def test_an_answer_waits_no_longer_than_it_may(pair: Pair, settings_of: MakeSettings) -> None:
    pair.set_stage("live")
    async with relay_to_supabase(pair) as relay:
        relay.hang()
        settings = settings_of(supabase_url=f"http://127.0.0.1:{relay.port}", mirror_wait=0.1, mirror_timeout=60)
        async with writer_of(settings) as writer:
            began = time.monotonic()
            await writer.upsert(Stage.LIVE, Client, [client(7)], OutgoingWrite())
            assert (time.monotonic() - began > 0.1, writer.pending) == (True, 1)
            relay.heal()
        assert entries(pair) == []  # close() waited for it
    assert pair.texts("clients", "source") == pair.texts("clients", "target") != []


async def test_while_supabase_is_down_nobody_waits_and_nothing_is_lost(pair: Pair, settings_of: MakeSettings) -> None:
    pair.set_stage("live")
    async with relay_to_supabase(pair) as relay:
        relay.cut()
        settings = settings_of(supabase_url=f"http://127.0.0.1:{relay.port}", mirror_wait=12.0)
        async with writer_of(settings) as writer:
            await writer.upsert(Stage.LIVE, Client, [client(1)], OutgoingWrite())
            await until(lambda: writer.problem is not None)
            began = time.monotonic()
            for number in range(2, 12):
                await writer.upsert(Stage.LIVE, Client, [client(number)], OutgoingWrite())
            assert time.monotonic() - began < 10  # one alone would wait 12 s
            await until(lambda: writer.pending == 0)
            left = entries(pair)
            assert len(left) == 11
            assert all(error for *_, error in left)
            relay.heal()
            async with asyncio.timeout(60):
                while entries(pair):
                    await let_an_hour_pass(pair)
                    await asyncio.sleep(0.05)
            assert writer.problem is None
    assert pair.texts("clients", "source") == pair.texts("clients", "target")


async def test_a_commit_whose_answer_is_lost(pair: Pair, settings_of: MakeSettings) -> None:
    pair.set_stage("live")
    pair.ask(
        "CREATE FUNCTION ends() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END'; "
        "CREATE CONSTRAINT TRIGGER ends AFTER INSERT ON clients DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW WHEN (NEW.yclients_id = 13) EXECUTE FUNCTION ends()"
    )
    # Of an earlier write that Supabase refused: it is not taken out by a send that found nothing to send.
    pair.ask(
        "INSERT INTO botdata.outbox (process, table_name, key, attempts, unsure, last_error, next_attempt_at) "
        "VALUES ('q', 'clients', '{13,1}', 3, false, 'refused', now() + interval '1 hour')"
    )
    async with writer_of(settings_of(mirror_wait=5)) as writer:
        with pytest.raises(OutcomeUnknownError):
            await writer.upsert(Stage.LIVE, Client, [client(13)], OutgoingWrite())
        await until(lambda: writer.pending == 0)
        await writer.upsert(Stage.LIVE, Client, [client(14)], OutgoingWrite())
    assert entries(pair) == [(["13", "1"], 3, False, False, "refused")]
    assert pair.texts("clients", "source") == pair.texts("clients", "target")
    assert pair.ask("SELECT yclients_id FROM clients") == [(14,)]


async def test_first_sends_that_fail_one_after_the_other_are_one_line_of_the_log(
    pair: Pair, settings_of: MakeSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pair.set_stage("live")

    async def fail(*_: object) -> None:
        raise StoreTimeoutError("the transaction took too long and was ended", sqlstate="25P04")

    async with writer_of(settings_of()) as writer:
        for ill in (True, False, True):
            with monkeypatch.context() as failing:
                if ill:
                    failing.setattr(writer._sender, "send", fail)
                for number in range(1, 6):
                    await writer.upsert(Stage.LIVE, Client, [client(number)], OutgoingWrite())
                    await until(lambda: writer.pending == 0)
    told = [one for one in caplog.records if "left to the outbox" in one.message and one.levelno >= logging.WARNING]
    assert len(told) == 2
