"""The way back by the target's change stream: what is written there goes to the source, and nothing else does."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from sqlalchemy import Column, Integer, Text

from app.errors import MigrationError
from app.migration.stream import reverse_stream
from app.migration.stream.options import FollowOptions
from app.migration.stream.removal import drop_stream
from app.migration.stream.reverse_stream import ReverseStreamSync
from app.migration.stream.status import stream_status
from app.migration.sync.options import SyncOptions
from app.migration.sync.sync_report import SyncReport
from app.state import streams
from tests.cli.command import Command
from tests.cli.test_json import check_document
from tests.fixtures.servers import migrated_template
from tests.fixtures.streams import StreamEnds, dropping, opened
from tests.migration.engine import add_clients, execute, query, row_texts, tables, value
from tests.migration.test_authority import own_authority, stand_at
from tests.stream.projects import PLAIN, ROWS, SCHEMA, one
from tests.support.other_schemas import in_schema
from tests.support.postgres import PostgresServer
from tests.support.streaming import Node


@dataclass
class Back(StreamEnds):
    """Both ends decode their logs."""

    async def back(self, chosen: Any, **given: Any) -> SyncReport:
        """A stream back up to this moment."""
        how = FollowOptions(interval=0.05, accept_unbounded=True, until_now=True)
        options = SyncOptions(reverse=True, until_clean=True, interval=0.05, target_in_use=True, **given)
        return await ReverseStreamSync(lambda: opened(self), self.target, chosen, self.told, options, how).run()

    @property
    def began_anew(self) -> bool:
        """Whether the last start made a sync by the rows' versions first."""
        return "first a sync by rows' versions" in next(
            one for one in reversed(self.told.notices) if one.startswith("by the change stream")
        )


@pytest.fixture
def both(logical_node: Node, logical_server: PostgresServer) -> Iterator[Back]:
    """A source and a target, both empty."""
    source, target = logical_server.create_database(), logical_server.create_database()
    with dropping(logical_server, source), dropping(logical_server, target):
        yield Back(logical_node, source, target)


async def test_what_is_written_at_the_target_goes_back(both: Back) -> None:
    both.make(SCHEMA, ROWS)
    await both.until_now(PLAIN)
    first = await both.back(PLAIN)
    assert (first.complete, first.by, first.tables["t"].changed, both.began_anew) == (True, "stream", 0, True)
    execute(both.target, "INSERT INTO t VALUES (10, 'ten'); UPDATE t SET v = 'new' WHERE id = 1")
    execute(both.target, "DELETE FROM t WHERE id = 2; UPDATE t SET id = 30 WHERE id = 3; INSERT INTO t VALUES (2, 'b')")
    execute(both.source, "UPDATE t SET v = 'only here' WHERE id = 9")  # a sync by row versions would put it back
    report = await both.back(PLAIN)
    done = report.tables["t"]
    assert (report.complete, both.began_anew) == (True, False)
    assert (done.inserted, done.updated, done.deleted) == (2, 2, 1)
    assert value(both.source, "SELECT v FROM t WHERE id = 9") == "only here"
    execute(both.target, "UPDATE t SET v = 'again' WHERE id = 9")
    await both.back(PLAIN)
    assert row_texts(both.source, "t") == row_texts(both.target, "t")
    execute(both.target, "TRUNCATE t; INSERT INTO t VALUES (1, 'one')")
    await both.back(PLAIN)
    assert row_texts(both.source, "t") == row_texts(both.target, "t") == ["(1,one)"]
    (back,) = (await stream_status(lambda: opened(both), both.target)).back
    assert (back.reverse, back.changes > 0, back.settled_lsn is not None) == (True, True, True)
    _, removed = await drop_stream(lambda: opened(both), both.target)
    assert [one.startswith("slot and publication botdata_") for one in removed] == [True, False, False, False]
    for url in (both.source, both.target):
        assert query(url, "SELECT FROM pg_replication_slots WHERE database = current_database()") == []
        assert query(url, "SELECT FROM pg_publication") == []


async def test_two_salons_of_one_database_have_ways_back_of_their_own(both: Back) -> None:
    """To one source; that of another project looks the same where a role may not read what tells servers apart."""
    both.make(SCHEMA, ROWS)
    execute(both.target, "CREATE SCHEMA t2; CREATE TABLE t2.t (LIKE t INCLUDING ALL)")
    for ends in (both, replace(both, target=in_schema(both.target, "t2"))):
        await ends.until_now(PLAIN)
        await ends.back(PLAIN)
    execute(both.target, "UPDATE t SET v = 'new' WHERE id = 1")
    await both.back(PLAIN)
    assert not both.began_anew
    assert row_texts(both.source, "t") == row_texts(both.target, "t")
    slots = "SELECT FROM pg_replication_slots WHERE database = current_database()"
    assert [len(query(url, slots)) for url in (both.source, both.target)] == [2, 2]


async def test_all_changes_of_a_long_transaction_are_counted(both: Back, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reverse_stream, "_PART_ROWS", 2)
    both.make(SCHEMA, ROWS)
    await both.until_now(PLAIN)
    await both.back(PLAIN)
    execute(both.target, "UPDATE t SET v = 'new'")
    await both.back(PLAIN)
    assert row_texts(both.source, "t") == row_texts(both.target, "t")
    assert value(both.target, "SELECT changes FROM botdata.streams WHERE reverse") == 9


async def test_what_is_done_twice_comes_to_the_same(both: Back, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends between the source's commit and the place that the target keeps."""
    both.make(SCHEMA, ROWS)
    await both.until_now(PLAIN)
    await both.back(PLAIN)
    execute(both.target, "UPDATE t SET id = id + 10 WHERE id < 4; DELETE FROM t WHERE id = 5; UPDATE t SET v = 'x'")

    async def ended(*_: object, **__: object) -> None:
        raise EndedError

    with monkeypatch.context() as patched:
        patched.setattr(streams, "note_applied", ended)
        with pytest.raises(EndedError):
            await both.back(PLAIN)
    assert row_texts(both.source, "t") == row_texts(both.target, "t")
    execute(both.target, "UPDATE t SET v = 'y' WHERE id = 9; INSERT INTO t VALUES (5, 'back')")
    report = await both.back(PLAIN)
    assert (report.complete, both.began_anew) == (True, False)
    assert row_texts(both.source, "t") == row_texts(both.target, "t")


class EndedError(Exception):
    """The end of a process, in a test."""


async def test_a_row_that_the_source_refuses_is_named_and_tried_again(both: Back) -> None:
    both.make(f"{SCHEMA}; ALTER TABLE t ADD CHECK (v <> 'bad')", ROWS, SCHEMA)
    await both.until_now(PLAIN)
    await both.back(PLAIN)
    execute(both.target, "UPDATE t SET v = 'bad' WHERE id < 3; UPDATE t SET v = 'good' WHERE id = 9")
    report = await both.back(PLAIN)
    assert sorted(one.key for one in report.tables["t"].refused) == [("1",), ("2",)]
    assert value(both.source, "SELECT v FROM t WHERE id = 9") == "good"
    execute(both.target, "UPDATE t SET v = 'mended' WHERE id = 1")
    execute(both.source, "ALTER TABLE t DROP CONSTRAINT t_v_check")
    report = await both.back(PLAIN)
    assert (report.complete, both.began_anew) == (True, True)
    assert row_texts(both.source, "t") == row_texts(both.target, "t")


async def test_the_way_there_comes_not_back_and_mirrors_are_left_to_the_bot(
    logical_node: Node, logical_server: PostgresServer
) -> None:
    """At `live`, of the tables whose programs have moved; what the forward stream wrote before is no change."""
    template = migrated_template(logical_server)
    source, target = (logical_server.create_database(template=template) for _ in range(2))
    staff = "INSERT INTO staff (id, yclients_id, company_id, name) VALUES ({0}, {0}, 1, 's')"
    with dropping(logical_server, source), dropping(logical_server, target):
        salon, chosen = Back(logical_node, source, target), tables("staff", "clients")
        execute(source, staff.format(1))
        await salon.until_now(chosen)
        stand_at(target, "live")
        own_authority(target, "staff")
        execute(source, staff.format(2))
        report = await salon.back(chosen, most_deleted=1)
        assert (report.tables["staff"].inserted, report.tables["staff"].updated) == (0, 0)
        assert query(target, "SELECT k FROM botdata.streams, json_object_keys(tables) k WHERE reverse") == [("staff",)]
        execute(target, staff.format(3))
        report = await salon.back(chosen)
        assert (report.tables["staff"].changed, row_texts(source, "staff")) == (1, row_texts(target, "staff"))
        execute(target, "DELETE FROM botdata.table_authority")
        execute(target, "UPDATE staff SET name = 'not brought'")
        stream = asyncio.ensure_future(salon.back(tables("staff")))
        with pytest.raises(MigrationError, match="Supabase is the store of staff"):
            await stream


async def test_a_target_that_does_not_decode_its_log_is_named(stream_ends: StreamEnds) -> None:
    stream_ends.make(SCHEMA, ROWS)
    await stream_ends.until_now(PLAIN)
    back = Back(stream_ends.node, stream_ends.source, stream_ends.target)
    with pytest.raises(MigrationError, match="the target cannot give a change stream: the target's wal_level is") as e:
        await back.back(PLAIN)
    assert "sync --reverse --follow --by stream" in str(e.value.next_step)


async def test_a_large_transaction_goes_back_in_parts(both: Back) -> None:
    chosen = one(Column("id", Integer, primary_key=True), Column("v", Text))
    both.make(SCHEMA, ROWS)
    await both.until_now(chosen)
    await both.back(chosen)
    execute(
        both.target, "INSERT INTO t SELECT n, 'many' FROM generate_series(10, 5600) n; DELETE FROM t WHERE id % 3 = 0"
    )
    assert (await both.back(chosen)).complete
    assert row_texts(both.source, "t") == row_texts(both.target, "t")


def test_the_way_back_by_the_command(command: Command, logical_node: Node, logical_server: PostgresServer) -> None:
    template = migrated_template(logical_server)
    source, target = (logical_server.create_database(template=template) for _ in range(2))
    with dropping(logical_server, source), dropping(logical_server, target):
        add_clients(source, 3)
        settings = {"DATABASE_URL": target, "MIGRATION_SOURCE": source, "USE_REPOSITORY_PATTERN": "false"}
        words = ["--by", "stream", "--accept-unbounded-wal", "--until-lsn", "now", "--tables", "clients", "--json"]
        assert command("sync", *words, **settings).code == 0
        settings["USE_REPOSITORY_PATTERN"] = "true"
        for notes in ("x", "y"):
            execute(target, f"UPDATE clients SET notes = '{notes}' WHERE id = 2")
            outcome = command("sync", "--reverse", *words, **settings)
            assert outcome.code == 0, outcome.err
            document = check_document(outcome.out, "sync")
            assert (document["by"], document["tables"][0]["updated"]) == ("stream", 1)
        assert row_texts(source, "clients") == row_texts(target, "clients")
        (back,) = check_document(command("stream", "status", "--json", **settings).out, "stream status")["back"]
        assert (back["reverse"], back["settled"], back["changes"]) == (True, True, 1)
        for words in (["stream", "status"], ["status"]):
            assert f"stream back to the source {back['name']}: 1 changes" in command(*words, **settings).out
        shown = check_document(command("status", "--json", **settings).out, "status")["streams"]
        assert [one["reverse"] for one in shown] == [False, True]
        told = command("sync", "--reverse", "--tables", "clients", **settings).err
        assert f"nobody reads the slot {back['name']} at the target: botdata stream drop" in told
        left = command("uninstall", "--yes", **settings).err
        assert (
            f"at the target a change stream's slot may be left: SELECT pg_drop_replication_slot('{back['name']}')"
            in left
        )


def test_a_way_back_is_looked_at_and_dropped_without_its_source(
    command: Command, logical_node: Node, logical_server: PostgresServer
) -> None:
    template = migrated_template(logical_server)
    source, target = (logical_server.create_database(template=template) for _ in range(2))
    with dropping(logical_server, source), dropping(logical_server, target):
        settings = {"DATABASE_URL": target, "MIGRATION_SOURCE": source, "USE_REPOSITORY_PATTERN": "true"}
        words = ["--by", "stream", "--accept-unbounded-wal", "--until-lsn", "now", "--tables", "clients"]
        assert command("sync", "--reverse", *words, **settings).code == 0
        away = {**settings, "MIGRATION_SOURCE": "postgresql://x@127.0.0.1:9/x"}
        dropped = command("stream", "drop", **away)
        assert dropped.code == 1
        assert "done:    slot and publication botdata_" in dropped.err
        for what in ("pg_replication_slots WHERE database = current_database()", "pg_publication"):
            assert query(target, f"SELECT FROM {what}") == []
        assert command("sync", "--reverse", *words, **settings).code == 0
        assert command("stream", "status", **settings).code == 0
        execute(target, "SELECT pg_drop_replication_slot(name) FROM botdata.streams")
        lost = command("stream", "status", "--json", **settings)
        document = check_document(lost.out, "stream status")
        assert (lost.code, document["ok"], document["back"][0]["lost"]) == (1, False, "the slot is gone")
        assert "sync --reverse --follow --by stream" in document["next"]
        assert "the slot is gone: a sync by rows' versions" in command("stream", "status", **settings).out
        del away["MIGRATION_SOURCE"]
        dropped = command("stream", "drop", "--json", **away)
        assert (dropped.code, len(check_document(dropped.out, "stream drop")["removed"])) == (0, 1)
        assert command("sync", *words, **{**settings, "USE_REPOSITORY_PATTERN": "false"}).code == 0
        refused = command("stream", "drop", **away)
        assert refused.code == 1
        assert "is at a source, and none was named" in refused.err
        assert command("stream", "drop", **settings).code == 0


_FORMS = "CREATE TABLE t (id {} PRIMARY KEY, b {}, i {}, c {}, v text)"
_FORM_KEYS = {"char(6)": ("ab", "cd"), "inet": ("10.0.0.1", "::1"), "boolean": ("true", "false")}
_TEXTS = "SELECT id::text, b::text, i::text, c::text FROM t ORDER BY 1"


@pytest.mark.parametrize("kind", _FORM_KEYS)
async def test_a_type_that_is_another_at_the_target(both: Back, kind: str) -> None:
    """A cast to text and the type's own output give other texts of these."""
    both.make(_FORMS.format(kind, "boolean", "inet", "char(5)"), target=_FORMS.format(*["text"] * 4))
    changed, gone = _FORM_KEYS[kind]
    execute(both.source, "INSERT INTO t VALUES (%s, true, '10.0.0.2', 'x'), (%s, NULL, NULL, NULL)", [changed, gone])
    chosen = one(*(Column(name, Text, primary_key=name == "id") for name in ("id", "b", "i", "c", "v")))
    await both.until_now(chosen)
    execute(both.source, "UPDATE t SET b = false, i = '::2', c = 'new' WHERE id = %s", [changed])
    execute(both.source, "DELETE FROM t WHERE id = %s", [gone])
    assert (await both.until_now(chosen)).complete
    assert query(both.target, _TEXTS) == query(both.source, _TEXTS)
    assert len(query(both.target, _TEXTS)) == 1


async def test_a_key_that_is_another_type_at_the_target_goes_back(both: Back) -> None:
    at_source, at_target = (SCHEMA.replace("integer", kind) for kind in ("varchar(6)", "char(6)"))
    both.make(at_source, "INSERT INTO t VALUES ('a', '1'), ('b', '2')", at_target)
    chosen = one(Column("id", Text, primary_key=True), Column("v", Text))
    await both.until_now(chosen)
    assert (await both.back(chosen)).complete
    execute(both.target, "UPDATE t SET v = 'new' WHERE id = 'a'; DELETE FROM t WHERE id = 'b'")
    assert (await both.back(chosen)).complete
    assert row_texts(both.source, "t") == ["(a,new)"]
