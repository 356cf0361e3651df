"""`botdata inventory`: every kind of item with its fate, by a role that sees all, by one that does not, over REST."""

import json

import pytest

from app.migration.inventory.inventory import QUESTIONS
from tests.cli.inventories import METADATA, SECRET, Inventories, Project
from tests.cli.test_json import check_document
from tests.migration.engine import execute, value
from tests.support.page_server import PageServer

pytestmark = pytest.mark.separate_server  # it makes roles
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
