"""The commands in a schema of another name, in a database where a second salon lives in `public`."""

import json

import pytest
import typer

from app.cli.command_tree import cli
from app.cli.project import OF_PUBLIC_ALONE
from app.schema import revisions
from tests.cli.command import Command
from tests.fixtures.cutover import Pair
from tests.migration.engine import add_clients, execute, row_texts, value
from tests.support.other_schemas import in_schema, searching

_COMMANDS = typer.main.get_command(cli).commands  # type: ignore[attr-defined]
_OF_PUBLIC = (
    "SELECT md5(string_agg(t::text, ' ' ORDER BY t::text)) FROM ("
    "SELECT c.relname, c.relfilenode, pg_stat_get_tuples_inserted(c.oid) FROM pg_class c "
    "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE nspname IN ('public', 'botdata')) t"
)


@pytest.fixture
def salon(source_database: str, database_url: str) -> dict[str, str]:
    """The settings of a salon that is to move to `t1`; `public` of its target is another's."""
    add_clients(source_database, 30)
    add_clients(database_url, 7)
    execute(database_url, "UPDATE clients SET name = 'of another salon'")
    return {"MIGRATION_SOURCE": source_database, "DATABASE_URL": database_url, "DATABASE_SCHEMA": "t1"}


def test_a_move_to_another_schema(command: Command, salon: dict[str, str]) -> None:
    target, source = salon["DATABASE_URL"], salon["MIGRATION_SOURCE"]
    before = value(target, _OF_PUBLIC)
    assert "the target has no schema t1_botdata" in command("status", **salon).out
    assert "its schema t1_botdata is missing" in command("cutover", "status", **salon).err
    moved = command("migrate", "--with-baileys", **salon)
    assert moved.code == 0, moved.err + moved.out
    assert row_texts(searching(target, "t1"), "clients") == row_texts(source, "clients")
    execute(source, "UPDATE clients SET notes = 'later' WHERE id = 3; DELETE FROM clients WHERE id = 5")
    differs = command("verify", **salon)
    assert differs.code == 1
    for step in ("sync", "verify", "preflight", "quarantine list", "status", "report", "cutover status"):
        done = command(*step.split(), **salon)
        assert done.code == 0, step + done.err + done.out
        assert "target-index-differs" not in done.out
    assert row_texts(searching(target, "t1"), "clients") == row_texts(source, "clients")
    assert value(target, _OF_PUBLIC) == before


def test_a_move_over_rest_and_back(command: Command, pair: Pair) -> None:
    """What the owner of a bot calls from the first copy to the way back, and at the end."""
    add_clients(pair.source, 5)
    salon = {
        "SUPABASE_URL": pair.supabase.url, "SUPABASE_KEY": pair.supabase.service_key,
        "DATABASE_URL": in_schema(pair.target, "t1"),
    }  # fmt: skip
    before = value(pair.target, _OF_PUBLIC)
    for step in ("upgrade", "copy", "verify", "parity", "watch --json"):
        done = command(*step.split(), **salon)
        assert done.code == 0, step + done.err + done.out
    execute(searching(pair.target, "t1"), "UPDATE clients SET notes = 'written here' WHERE id = 2")
    for step in (
        "sync --reverse --accept source-triggers-unseen",
        "mirror status",
        "pause",
        "resume",
        "uninstall --yes",
    ):
        done = command(*step.split(), **salon, USE_REPOSITORY_PATTERN="true")
        assert done.code == 0, step + done.err + done.out
    assert "schema t1_botdata: dropped" in done.out
    assert pair.ask("SELECT notes FROM clients WHERE id = 2", store="source") == [("written here",)]
    assert value(pair.target, _OF_PUBLIC) == before


def test_from_one_schema_to_another_of_the_same_database(command: Command, database_url: str) -> None:
    revisions.upgrade(in_schema(database_url, "old"))
    add_clients(searching(database_url, "old"), 3)
    salon = {"DATABASE_URL": database_url, "DATABASE_SCHEMA": "t1"}
    source = ("--source", database_url, "--source-schema", "old")
    moved = command("migrate", *source, **salon)
    assert moved.code == 0, moved.err
    assert row_texts(searching(database_url, "t1"), "clients") == row_texts(searching(database_url, "old"), "clients")
    execute(searching(database_url, "t1"), "UPDATE clients SET name = 'changed here' WHERE id = 2")
    differs = command("verify", *source, **salon)
    assert differs.code == 1
    assert "--source-schema old" in differs.out
    assert value(database_url, "SELECT count(*) FROM clients") == 0
    assert command("verify", *source[:2], "--source-schema", "Old", **salon).code == 2


@pytest.mark.parametrize(
    "words",
    [*OF_PUBLIC_ALONE, "copy --metadata other.models:Base", "schema replace --yes"],
)
def test_a_command_of_public_alone_is_refused(command: Command, database_url: str, words: str) -> None:
    outcome = command(*words.split(), DATABASE_URL=database_url, DATABASE_SCHEMA="t1", MIGRATION_SOURCE=database_url)
    assert outcome.code == 1
    assert "works on the schema public alone, and DATABASE_SCHEMA is t1" in outcome.err
    assert "nothing was read or written" in outcome.err
    asked = command(*words.split()[:1], "--help", DATABASE_URL=database_url, DATABASE_SCHEMA="t1")
    assert asked.code == 0


def test_an_inventory_compares_with_the_salons_own_schema(command: Command, salon: dict[str, str]) -> None:
    target, source = salon["DATABASE_URL"], salon["MIGRATION_SOURCE"]
    assert command("migrate", "--with-baileys", **salon).code == 0
    for url, schema in ((source, "public"), (target, "t1"), (target, "public")):
        execute(url, f"CREATE VIEW {schema}.phones AS SELECT phone FROM {schema}.clients")
    execute(source, "CREATE VIEW here AS SELECT 1 AS one; CREATE TABLE lost (id integer)")
    execute(target, "CREATE VIEW here AS SELECT 1 AS one; CREATE TABLE lost (id integer)")
    taken = command("inventory", "--json", **salon)
    fates = {one["item"]: one["fate"] for one in json.loads(taken.out)["items"]}
    of_a_salon = ("view public.phones", "columns public.clients", "function public.cleanup_expired_whatsapp_keys()")
    assert {fates[name] for name in of_a_salon} == {"recreated and proved"}
    assert fates["table public.clients"] == "moved and verified"
    assert (fates["view public.here"], fates["table public.lost"]) == ("by hand", "by hand")
    assert [name for name, fate in fates.items() if fate == "by hand" and "clients" in name] == []


def test_a_rehearsal_is_of_the_salons_own_schema(command: Command, salon: dict[str, str]) -> None:
    before = value(salon["DATABASE_URL"], _OF_PUBLIC)
    done = command("rehearse", "--yes", "--without-cutover", **salon)
    assert done.code == 0, done.out + done.err
    assert value(salon["DATABASE_URL"], _OF_PUBLIC) == before
    assert value(salon["DATABASE_URL"], "SELECT count(*) FROM t1_botdata.rehearsals WHERE removed_at IS NOT NULL") == 1
    databases = "SELECT count(*) FROM pg_database WHERE datname LIKE %s"
    assert value(salon["DATABASE_URL"], databases, ["botdata_rehearsal_%"]) == 0


def test_every_command_is_right_or_refused_for_another_schema() -> None:
    """A new command is to be tried in another schema, and then stands in one of the two lists."""
    tried = {
        "copy", "cutover", "demo", "fleet", "inventory", "migrate", "mirror", "notify", "parity", "pause", "preflight",
        "quarantine", "rehearse", "report", "resume", "schema", "status", "stream", "sync", "uninstall", "upgrade",
        "verify", "watch",
    }  # fmt: skip
    assert set(_COMMANDS) == tried | set(OF_PUBLIC_ALONE)
