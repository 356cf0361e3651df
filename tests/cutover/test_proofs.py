"""What sync and verify leave for the gates: which tables they saw, and which notes are repaired."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest

from app.cutover.moves.gates.objections import objections
from app.cutover.stages import Stage
from app.migration.verify.options import VerifyOptions
from tests.fixtures.cutover import MakeSettings, Pair
from tests.migration.engine import tables, verify_from
from tests.migration.test_sync import sync_from
from tests.migration.test_sync_follow import Following
from tests.support.faults import Fault, Request
from tests.support.page_server import PageServer

_ADD = "INSERT INTO clients (id, yclients_id, company_id, phone) SELECT n, n, 1, '7' FROM generate_series(1, 3) n"
_NOTE = "INSERT INTO botdata.notes (process, table_name, key, state, noted_at) VALUES ('p', 'clients', '{{{},1}}', {})"
_SYNCED = "SELECT table_name, source <> '', began_at < ended_at FROM botdata.synced_tables ORDER BY 1"


@pytest.fixture
def pages(pair: Pair) -> Iterator[PageServer]:
    """A page server on the source's database."""
    server = PageServer(pair.source)
    with server:
        pair.set_stage("dualwrite")
        pair.ask(_ADD, store="source")
        yield server


def changed_at(pair: Pair) -> datetime | None:
    """From when on a verify of clients counts."""
    ((moment,),) = pair.ask("SELECT changed_at FROM botdata.synced_tables WHERE table_name = 'clients'")
    return moment if moment is None else datetime.fromisoformat(str(moment))


async def test_a_sync_leaves_which_tables_it_saw(pair: Pair, pages: PageServer) -> None:
    await sync_from(pages, pair.target, "clients", "staff")
    assert pair.ask(_SYNCED) == [("clients", True, True), ("staff", True, True)]
    before = pair.ask("SELECT max(ended_at) FROM botdata.synced_tables")
    await sync_from(pages, pair.target, "clients")
    assert pair.ask(f"SELECT table_name FROM botdata.synced_tables WHERE began_at > '{before[0][0]}'") == [("clients",)]
    await sync_from(pages, pair.target, "services", dry_run=True)
    assert len(pair.ask(_SYNCED)) == 2


async def test_a_table_that_stays_different_was_not_synced(pair: Pair, pages: PageServer) -> None:
    pair.ask(
        "CREATE FUNCTION other() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.notes = 'other'; RETURN NEW; END $$; "
        "CREATE TRIGGER other BEFORE INSERT ON clients FOR EACH ROW EXECUTE FUNCTION other(); "
        "ALTER TABLE clients ENABLE ALWAYS TRIGGER other"
    )
    pair.ask(_NOTE.format(1, "'written', now()"))
    assert not (await sync_from(pages, pair.target, "clients")).complete
    assert pair.ask(_SYNCED) == []
    assert len(pair.ask("SELECT FROM botdata.notes")) == 1


async def test_a_sync_repairs_the_notes_whose_writes_have_landed(pair: Pair, pages: PageServer) -> None:
    for number, rest in enumerate(
        (
            "'written', now() - interval '1 s'",
            "'unknown', now() - interval '61 s'",
            "'writing', now() - interval '62 s'",
            "'unknown', now() - interval '50 s'",
            "'writing', now() - interval '2 s'",
        )
    ):
        pair.ask(_NOTE.format(number, rest))
    await sync_from(pages, pair.target, "clients", dry_run=True)
    await sync_from(pages, pair.target, "staff")
    assert pair.ask("SELECT key FROM botdata.notes ORDER BY id") == [([str(n), "1"],) for n in range(5)]
    await sync_from(pages, pair.target, "clients")
    assert pair.ask("SELECT key FROM botdata.notes ORDER BY id") == [(["3", "1"],), (["4", "1"],)]
    # The last note that was repaired, which this sync began after.
    proven = "SELECT left_at BETWEEN now() - interval '1 min' AND began_at FROM botdata.last_left_note, "
    assert pair.ask(f"{proven} botdata.synced_tables WHERE table_name = 'clients'") == [(True,)]


async def test_a_note_that_comes_while_a_sync_looks_stays(pair: Pair, pages: PageServer) -> None:
    def hook(request: Request) -> Fault | None:
        if request.parameter("order") and not pair.ask("SELECT FROM botdata.notes"):  # the first page of keys
            pair.ask(_NOTE.format(9, "'written', now() - interval '2 min'"))
        return None

    pages.hook = hook
    await sync_from(pages, pair.target, "clients")
    assert len(pair.ask("SELECT FROM botdata.notes")) == 1
    assert pair.ask("SELECT left_at FROM botdata.last_left_note") == [(None,)]


async def test_a_sync_makes_an_earlier_verify_old(pair: Pair, pages: PageServer) -> None:
    await sync_from(pages, pair.target, "clients")
    first = changed_at(pair)
    await sync_from(pages, pair.target, "clients")
    second = changed_at(pair)
    assert first is not None
    assert second is not None
    assert second > first


async def test_a_following_sync_does_so_where_it_finds_what_no_mirror_explains(pair: Pair, pages: PageServer) -> None:
    await sync_from(pages, pair.target, "clients", "whatsapp_keys")
    before = changed_at(pair)
    following = Following(pages, pair.target)
    await following.rounds(2)
    assert changed_at(pair) == before
    pair.ask(_NOTE.format(1, "'writing', now()"))
    pair.ask("UPDATE clients SET notes = 'of the bot' WHERE id = 1", store="source")
    await following.rounds(2)
    assert pair.texts("clients", "target") == pair.texts("clients", "source")
    assert changed_at(pair) == before
    pair.ask("UPDATE clients SET notes = 'of another program'", store="source")
    await following.rounds(2)
    assert changed_at(pair) != before
    before = changed_at(pair)
    pair.ask("TRUNCATE botdata.notes")
    pair.ask("DELETE FROM clients WHERE id = 2", store="source")
    await following.rounds(2)
    await following.end()
    assert changed_at(pair) != before


async def test_a_verify_leaves_what_it_found(pair: Pair, pages: PageServer) -> None:
    quick = VerifyOptions(pause=0.01)
    found = "SELECT table_name, differences, began_at < ended_at FROM botdata.verifications ORDER BY id"
    await verify_from(pages, pair.target, tables("clients", "staff"), options=quick)
    assert pair.ask(found) == [("clients", 3, True), ("staff", 0, True)]
    await verify_from(pages, pair.target, tables("clients"), options=VerifyOptions(sample=2, pause=0.01))
    assert len(pair.ask(found)) == 2
    await verify_from(pages, pair.target, tables("clients"), options=VerifyOptions(fix=True, pause=0.01))
    assert pair.ask(found)[2:] == [("clients", 0, True)]


async def test_sync_and_verify_open_the_gate_beside_a_following_sync(
    pair: Pair, pages: PageServer, settings_of: MakeSettings
) -> None:
    """Other programs go on writing staff, and the bot writes clients, whose mirrors are just to come."""
    names = [table for (table,) in pair.ask("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    chosen = tables(*(name for name in names if name not in {"alembic_version", "whatsapp_auth", "whatsapp_keys"}))
    pair.ask(
        "INSERT INTO botdata.processes (name, stage, chosen_by, reported_at) "
        "VALUES ('p', 'dualwrite', 'CUTOVER_STAGE=database', now() + interval '5 min')"
    )
    pair.ask("INSERT INTO staff (yclients_id, company_id, name) VALUES (1, 1, 's')", store="source")
    settings = settings_of()
    assert ["not synced since" in one.what or "not verified since" in one.what for one in
            await objections(settings, Stage.SHADOW)] == [True, True]  # fmt: skip
    following = Following(pages, pair.target, chosen=chosen)
    await following.rounds(2)
    await verify_from(pages, pair.target, chosen, options=VerifyOptions(pause=0.01))
    pair.ask("UPDATE staff SET name = 'of another program'", store="source")
    pair.ask(_NOTE.format(1, "'writing', now()"))
    pair.ask("UPDATE clients SET notes = 'of the bot' WHERE id = 1", store="source")
    await following.rounds(2)
    assert pair.texts("staff", "target") == pair.texts("staff", "source")
    assert pair.texts("clients", "target") == pair.texts("clients", "source")
    assert await objections(settings, Stage.SHADOW) == []
    await following.end()
