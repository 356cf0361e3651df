"""`botdata inventory`: every kind of item with its fate, by a role that sees all, by one that does not, over REST."""

import json
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg import errors
from sqlalchemy.engine import make_url

from app.migration.inventory.inventory import QUESTIONS
from tests.cli import supabase_project as project
from tests.cli.command import Command, Outcome
from tests.cli.test_json import check_document
from tests.migration.engine import execute, value
from tests.support.page_server import PageServer
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.separate_server  # it makes roles

METADATA = ("--metadata", "tests.cli.supabase_project:Base")
SECRET = "planted-secret"


@dataclass(frozen=True)
class Project:
    """A Supabase project.

    Attributes:
        url: of its database, as the superuser.
        blind: the same as a role that was given nothing.
        role: that role.
    """

    url: str
    blind: str
    role: str


@pytest.fixture(scope="module")
def supabase(separate_server: PostgresServer) -> Iterator[Project]:
    url, role = separate_server.create_database(), f"botdata_test_{uuid.uuid4().hex[:8]}"
    made = [role, f"{role}_app"]
    with psycopg.connect(url, autocommit=True) as connection:
        for name in project.ROLES:
            with suppress(errors.DuplicateObject, errors.UniqueViolation):  # of another database of a shared server
                connection.execute(f"CREATE ROLE {name}")
                made.append(name)
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'; CREATE ROLE {role}_app")
        connection.execute(f"ALTER ROLE {role}_app SET search_path = 'planted-secret'")
        database = make_url(url).database
        connection.execute(f"ALTER DATABASE {database} SET app.token = 'planted-secret'")
        connection.execute(f"ALTER DATABASE {database} SET app.settings.jwt_secret = 'planted-secret'")
        parts = (project.SERVICES, project.APPLICATION, project.BESIDE, project.UNKNOWN)
        for statements in (*parts, project.CATALOG_ROWS, project.SUBSCRIPTION):
            connection.execute(statements)
    blind = make_url(url).set(username=role, password="x").render_as_string(hide_password=False)
    yield Project(url, blind, role)
    execute(url, "DROP SUBSCRIPTION other")
    separate_server.drop_database(url)
    with psycopg.connect(separate_server.admin_url, autocommit=True) as connection:
        for name in reversed(made):
            with suppress(errors.DependentObjectsStillExist):
                connection.execute(f"DROP ROLE {name}")


@dataclass
class Inventories:
    """Takes inventories into one target."""

    command: Command
    target: str

    def __call__(self, *words: str, code: int, **settings: str) -> Outcome:
        outcome = self.command("inventory", *words, **{"DATABASE_URL": self.target, **settings})
        assert outcome.code == code, outcome.out + outcome.err
        assert SECRET not in outcome.out + outcome.err
        return outcome

    def items(self, source: str, *words: str, code: int = 1) -> dict[str, dict[str, Any]]:
        """The items by name."""
        outcome = self("--source", source, *METADATA, "--json", *words, code=code)
        document = check_document(outcome.out, "inventory")
        assert document["open"] == sum(one["open"] for one in document["items"])
        return {one["item"]: one for one in document["items"]}

    def fates(self, source: str) -> dict[str, str]:
        return {name: one["fate"] for name, one in self.items(source).items()}


@pytest.fixture
def inventories(command: Command, fresh_database: str) -> Inventories:
    return Inventories(command, fresh_database)


BY_HAND = {
    'table public."Odd Name"', "table public.lost", "table public.days", "table public.stock", "columns public.days",
    'columns public."Odd Name"', 'constraint public."Odd Name"."Odd Name_pkey"', "index public.orders_by_state",
    "trigger auth.users.on_auth_user_created", "webhook public.orders.tell", 'webhook public."Odd Name".send',
    "policy storage.objects.own_files", "policy public.orders.own_orders", "row security public.orders",
    "rule public.lost.kept", "statistics public.orders_both", "schema billing", "view public.paid",
    "materialized view public.sums", "sequence public.ticket", "type public.order_state", "type public.money_of",
    "type public.positive", "type public.spans", "function public.price(integer)", "function public.settle()",
    "function auth.company()", "aggregate public.longest(text)",
    "collation public.by_code", "comments public", "comments (of no schema)", "rights public",
    "security label table public.orders", "extension no_such_extension", "extension rows public.lost",
    "event trigger watch", "cast (public.order_state AS integer)",
    "default privileges for postgres in billing on tables", "setting database: app.token",
    "publication supabase_realtime", "subscription other", "foreign-data wrapper elsewhere", "foreign server warehouse",
    "user mapping warehouse for public", "large objects (all)", "auth users (all)", "auth identities google",
    "auth identities email", "auth rows sso_providers", "bucket avatars", "bucket empty",
    "storage rows buckets_vectors", "cron job nightly", "cron job nightly (2)", "vault secret stripe",
    "edge functions (all)", "provider settings (all)", "edge function secrets (all)", "API settings (all)",
}  # fmt: skip
NOT_NEEDED = {
    "schema auth", "schema storage", "schema vault", "schema cron", "schema net", "schema realtime",
    "schema extensions", "schema supabase_functions", "publication supabase_realtime_messages_publication",
    "role (Supabase's own)", "default privileges for postgres in realtime on tables",
    "setting database: app.settings.jwt_secret",
}  # fmt: skip
UNKNOWN = {
    "operator public.===(integer,integer)",
    "operator class public.plain_ints USING btree", "operator family public.plain_ints USING btree",
    "text search configuration public.ours", "text search dictionary public.our_words", "conversion public.ours",
    "access method ours", "language ours", "base type public.mine", "table auth.made_next_year",
}  # fmt: skip


def test_every_kind_by_a_role_that_sees_all(inventories: Inventories, supabase: Project) -> None:
    items = inventories.items(supabase.url)
    assert SECRET not in value(inventories.target, "SELECT items::text FROM botdata.inventory")
    by_fate: dict[str, set[str]] = {}
    for name, one in items.items():
        by_fate.setdefault(one["fate"], set()).add(name)
    assert by_fate.keys() == {"by hand", "not needed", "recreated and proved", "unknown"}
    assert BY_HAND - by_fate["by hand"] == set()
    assert NOT_NEEDED - by_fate["not needed"] == set()
    assert by_fate["unknown"] == UNKNOWN
    assert {question.kind for question in QUESTIONS} <= {one["kind"] for one in items.values()}
    # What Supabase manages is one line a schema.
    own = ("auth.", "storage.", "vault.", "cron.", "net.", "realtime.", "supabase_functions.")
    assert {name for name, one in items.items() if one["name"].startswith(own)} == {
        "trigger auth.users.on_auth_user_created", "policy storage.objects.own_files", "function auth.company()",
        "table auth.made_next_year",
    }  # fmt: skip
    assert items["auth users (all)"]["detail"] == "3 users"
    assert items["auth identities email"]["detail"] == "2 identities"
    bucket = items["bucket avatars"]
    assert bucket["detail"] == "3 objects, 1024 bytes and those of 1 objects of unknown size, public"
    assert bucket["how"].startswith("rclone copy --checksum supabase:avatars target:avatars")
    assert items["webhook public.orders.tell"]["detail"].startswith(
        "a trigger that calls public.notify, host hooks.example.test"
    )
    assert items['webhook public."Odd Name".send']["detail"].startswith(
        "a trigger that calls supabase_functions.http_request, host shop.example.test"
    )
    assert items["cron job nightly"]["detail"].startswith("0 3 * * *, calls cron.example.test")
    assert items["extension no_such_extension"]["detail"].endswith("the target's server does NOT have it")
    available = value(inventories.target, "SELECT min(name) FROM pg_available_extensions WHERE name <> 'plpgsql'")
    assert "the target's server has" in items[f"extension {available}"]["detail"]
    assert "in 1 partitions" in items["table public.days"]["detail"]
    assert all(one["how"] for one in items.values() if one["open"])


def test_a_role_that_does_not_see(inventories: Inventories, supabase: Project) -> None:
    items = inventories.items(supabase.blind)
    hidden = {name for name, one in items.items() if one["fate"] == "not visible from here"}
    assert hidden >= {
        "auth users (all of auth.users)", "auth identities (all of auth.identities)",
        "bucket (all of storage.buckets, storage.objects)", "cron job (all of cron.job)",
        "vault secret (all of vault.secrets)", "auth rows (all of auth.sso_providers)",
        "storage rows (all of storage.buckets_vectors)", 'table public."Odd Name"', "table public.orders",
    }  # fmt: skip
    assert items["table public.orders"]["how"].endswith(f'GRANT SELECT ON public.orders TO "{supabase.role}"')
    assert all(items[name]["how"] for name in hidden)
    document = json.loads(inventories("--source", supabase.blind, *METADATA, "--json", code=1).out)
    assert document["none_found"] == []
    assert {name for name, one in items.items() if one["fate"] == "unknown"} == UNKNOWN
    # The catalogs are open to each role: what hangs on Supabase's tables is named all the same.
    assert items["trigger auth.users.on_auth_user_created"]["fate"] == "by hand"


def test_of_an_empty_database_each_kind_is_said_to_be_missing(inventories: Inventories, source_database: str) -> None:
    execute(source_database, "DROP SCHEMA public CASCADE")
    document = json.loads(inventories("--source", source_database, *METADATA, "--json", code=1).out)
    expected = {one.plural for one in QUESTIONS if one.kind not in {"extension", "role", "setting"}}
    assert expected - set(document["none_found"]) == set()
    assert {"tables", "objects of any other kind", "auth users", "policies", "indexes"} <= set(document["none_found"])


def test_rows_that_a_policy_hides_are_not_counted_as_none(inventories: Inventories, supabase: Project) -> None:
    execute(
        supabase.url,
        f"GRANT USAGE ON SCHEMA cron TO {supabase.role}; GRANT SELECT ON cron.job, orders TO {supabase.role}",
    )
    try:
        items = inventories.items(supabase.blind)
    finally:
        execute(supabase.url, f"DROP OWNED BY {supabase.role}")
    for name in ("cron job (all of cron.job)", "table public.orders"):
        assert (items[name]["fate"], "BYPASSRLS" in items[name]["how"]) == ("not visible from here", True)


def test_tables_that_no_adopt_makes(inventories: Inventories, source_database: str) -> None:
    """Of a database with Supabase's schemas and without its roles, such as one that a dump was restored into."""
    execute(
        source_database,
        "CREATE SCHEMA auth; CREATE TABLE auth.users (id int PRIMARY KEY); CREATE SCHEMA storage; "
        "CREATE TABLE storage.objects (id int PRIMARY KEY); CREATE SCHEMA shop; CREATE TABLE shop.things (id int)",
    )
    items = inventories.items(source_database)
    assert "adopt DIRECTORY --with-auth" in items["table auth.users"]["how"]
    assert "adopt" not in items["table storage.objects"]["how"]
    assert "adopt DIRECTORY makes models" in items["table shop.things"]["how"]


def test_moved_and_recreated(inventories: Inventories, supabase: Project) -> None:
    target = inventories.target
    settings = {"DATABASE_URL": target}
    only = ("--source", supabase.url, *METADATA, "--tables", "orders,billing.invoices")
    execute(target, project.APPLICATION.replace("CREATE TRIGGER on_order", "-- CREATE TRIGGER on_order"))
    execute(target, "CREATE FUNCTION price(int) RETURNS int LANGUAGE sql AS 'SELECT $1'")
    before = inventories.items(supabase.url)
    assert (before["table public.orders"]["fate"], before["table public.orders"]["detail"]) == (
        "by hand", "2 rows; not copied",
    )  # fmt: skip
    assert inventories.command("copy", *only, **settings).code == 0
    copied = inventories.items(supabase.url)["table billing.invoices"]
    assert (copied["fate"], copied["detail"]) == ("by hand", "1 rows; copied, and not verified")
    assert "botdata verify" in copied["how"]
    assert "--tables billing.invoices" in copied["how"]
    assert inventories.command("verify", *only, **settings).code == 0
    fates = inventories.fates(supabase.url)
    assert {name for name, fate in fates.items() if fate == "moved and verified"} == {
        "table public.orders", "table billing.invoices",
    }  # fmt: skip
    assert {name for name, fate in fates.items() if fate == "recreated and proved" and "public" in name} == {
        "columns public.orders", "constraint public.orders.orders_pkey", "index public.orders_by_state",
        "view public.paid", "function public.handle_new_user()", "type public.order_state", "schema public",
    }  # fmt: skip
    assert fates["trigger public.orders.on_order"] == "by hand"
    assert fates["constraint billing.invoices.invoices_order_id_fkey"] == "recreated and proved"
    changed = inventories.items(supabase.url)["function public.price(integer)"]
    assert (changed["fate"], "another of this name" in changed["detail"]) == ("by hand", True)
    assert "the models have no such table" in inventories.items(supabase.url)['table public."Odd Name"']["detail"]
    # A verify that found something takes the word back.
    execute(target, "DELETE FROM billing.invoices")
    assert inventories.command("verify", *only, **settings).code == 1
    lost = inventories.items(supabase.url)["table billing.invoices"]
    assert (lost["fate"], "1 rows differed" in lost["detail"]) == ("by hand", True)
    execute(target, "UPDATE botdata.verifications SET source = 'another.example/db'")
    other = inventories.items(supabase.url)["table public.orders"]
    assert (other["fate"], "verified against another source, another.example/db" in other["detail"]) == (
        "by hand",
        True,
    )
    execute(target, "UPDATE botdata.verifications SET source = (SELECT min(source) FROM botdata.runs)")
    assert inventories.fates(supabase.url)["table public.orders"] == "moved and verified"
    execute(target, "DROP TABLE orders CASCADE")
    assert "the target has no such table" in inventories.items(supabase.url)["table public.orders"]["detail"]


def test_ticks(inventories: Inventories, supabase: Project) -> None:
    item = "function public.price(integer)"
    missing = inventories("--done", item, "--note", "x", code=1)
    assert "the target keeps no inventory" in missing.err
    assert "next:    botdata inventory" in missing.err
    everything = inventories.items(supabase.url)
    wrong = inventories("--done", "function public.pric(integer)", "--note", "x", code=1)
    assert f"near it: {item}" in wrong.err
    done = inventories("--done", item, "--note", "by a revision, says +7 900 000-00-07", "--json", code=0)
    document = check_document(done.out, "inventory --done")
    note = "by a revision, says +7900***0007"
    assert (document["item"], document["note"], item in document["open"]) == (item, note, False)
    ticked = inventories.items(supabase.url)[item]
    assert (ticked["fate"], ticked["open"], ticked["note"]) == ("by hand", False, note)
    status = json.loads(inventories.command("status", "--json", DATABASE_URL=inventories.target).out)
    assert set(status["inventory_open"]) == {
        name for name, one in everything.items() if one["open"] and name != item
    }  # fmt: skip
    said = inventories.command("status", DATABASE_URL=inventories.target).out
    assert f"{len(status['inventory_open'])} items of the inventory of {status['inventory_taken_at']} are open" in said
    assert "botdata inventory" in said
    body = "CREATE OR REPLACE FUNCTION price(int) RETURNS int LANGUAGE sql AS 'SELECT $1 + {}'"
    execute(supabase.url, body.format(2))
    try:
        again = inventories.items(supabase.url)[item]
        assert (again["open"], again["changed"]) == (True, True)
        assert "changed since it was ticked off" in inventories("--source", supabase.url, *METADATA, code=1).out
    finally:
        execute(supabase.url, body.format(1))
    assert inventories.items(supabase.url)[item]["open"] is False
    assert inventories("--undo", item, code=0).out.startswith(f"{item}: tick taken back")
    assert inventories.items(supabase.url)[item]["open"] is True
    assert "nobody has ticked off" in inventories("--undo", item, code=1).err


def test_all_ticked_is_exit_code_0(inventories: Inventories, supabase: Project) -> None:
    items = inventories.items(supabase.url)
    execute(
        inventories.target,
        "INSERT INTO botdata.ticks (item, definition, note) SELECT i ->> 'item', i ->> 'definition', 'dealt with' "
        "FROM botdata.inventory, json_array_elements(items) i",
    )
    assert not any(one["open"] for one in inventories.items(supabase.url, code=0).values())
    shown = inventories("--source", supabase.url, *METADATA, code=0).out
    assert f"all dealt with: {len(items)} items, none open" in shown
    assert "0 items" not in inventories.command("status", DATABASE_URL=inventories.target).out


@pytest.mark.parametrize("words", [("--done", "x"), ("--note", "x"), ("--done", "x", "--note", " "),
                                   ("--done", "x", "--note", "y", "--undo", "x")])  # fmt: skip
def test_a_wrong_command_line(inventories: Inventories, words: tuple[str, ...]) -> None:
    inventories(*words, code=2)


def test_without_a_target(command: Command, supabase: Project) -> None:
    outcome = command("inventory", "--source", supabase.url, *METADATA, "--json")
    document = check_document(outcome.out, "inventory")
    assert (outcome.code, document["taken_at"]) == (1, None)
    assert "no target is given" in document["notices"][0]
    proved = {one["fate"] for one in document["items"]} & {"moved and verified", "recreated and proved"}
    assert proved == set()


# Jobs that row-level security hides from a role that may read the table.
HIDDEN_JOBS = """
CREATE SCHEMA cron;
CREATE TABLE cron.job (jobid bigint, jobname text, schedule text, command text, active boolean);
ALTER TABLE cron.job ENABLE ROW LEVEL SECURITY;
GRANT USAGE ON SCHEMA cron TO PUBLIC;
GRANT SELECT ON cron.job TO PUBLIC;
"""


def test_a_target_that_may_not_be_written(inventories: Inventories, supabase: Project) -> None:
    execute(inventories.target, HIDDEN_JOBS)
    role = make_url(inventories.target).set(username=supabase.role, password="x")
    target = role.render_as_string(hide_password=False)
    outcome = inventories("--source", supabase.url, *METADATA, code=1, DATABASE_URL=target)
    assert "cron job nightly (2): @daily; whether the target has it could not be read" in outcome.out
    assert "note: the role may not write to schema botdata of the target" in outcome.out
    assert value(inventories.target, "SELECT to_regnamespace('botdata')") is None


def test_over_rest_only_tables_show(inventories: Inventories, supabase: Project) -> None:
    with PageServer(supabase.url, schemas=("public", "billing"), describes=True) as pages:
        settings = {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key}
        outcome = inventories(*METADATA, "--json", code=1, **settings)
        document = check_document(outcome.out, "inventory")
    items = {one["item"]: one for one in document["items"]}
    assert items["table public.orders"]["detail"].startswith("a table or a view, 2 rows; ")
    assert items["table billing.invoices"]["detail"].startswith("a table or a view, 1 rows; ")
    for question in QUESTIONS:
        one = items[f"{question.kind} (all)"]
        assert (one["fate"], "--source postgresql://..." in one["how"]) == ("not visible from here", True)
    assert items["edge functions (all)"]["fate"] == "by hand"
    assert document["none_found"] == []


def test_over_rest_a_schema_that_does_not_show(inventories: Inventories, supabase: Project) -> None:
    with PageServer(supabase.url) as pages:
        settings = {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key}
        document = json.loads(inventories(*METADATA, "--json", code=1, **settings).out)
    items = {one["item"]: one["fate"] for one in document["items"]}
    assert items["table public.(all)"] == items["table billing.(all)"] == "not visible from here"
