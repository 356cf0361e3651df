"""`botdata inventory` and its target: what is proved there, what is ticked off, and without a target to write to."""

import json

import pytest
from sqlalchemy.engine import make_url

from tests.cli import supabase_project as project
from tests.cli.command import Command
from tests.cli.inventories import METADATA, Inventories, Project
from tests.cli.test_json import check_document
from tests.migration.engine import execute, value

pytestmark = pytest.mark.separate_server  # it makes roles


def test_what_a_verify_and_a_comparison_prove_is_no_longer_open(inventories: Inventories, supabase: Project) -> None:
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


_DAYS = """
CREATE TABLE days (id integer, day date) PARTITION BY RANGE (day);
CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER stamps BEFORE UPDATE ON days FOR EACH ROW EXECUTE FUNCTION stamp();
CREATE FUNCTION all_secrets() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE DOMAIN secret AS text;
"""
# What a partition has of its own, and what not everybody may do.
_OWN = {
    "row security public.days_1": "ALTER TABLE days_1 ENABLE ROW LEVEL SECURITY",
    "constraint public.days_1.small": "ALTER TABLE days_1 ADD CONSTRAINT small CHECK (id < 9)",
    "index public.days_1_id_idx": "CREATE INDEX ON days_1 (id)",
    "trigger public.days_1.stamps": "ALTER TABLE days_1 DISABLE TRIGGER stamps",
    "columns public.days": "ALTER TABLE days_1 ALTER id SET DEFAULT 5",
    "rights public": "REVOKE EXECUTE ON FUNCTION all_secrets FROM PUBLIC",
}


def test_what_partitions_have_of_their_own_and_what_not_all_may_do(
    inventories: Inventories, source_database: str
) -> None:
    for url in (source_database, inventories.target):
        execute(url, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        execute(url, _DAYS)
    for statement in _OWN.values():
        execute(source_database, statement)
    fates = inventories.fates(source_database)
    assert {name: fates[name] for name in _OWN} == dict.fromkeys(_OWN, "by hand")
    for statement in _OWN.values():
        execute(inventories.target, statement)
    fates = inventories.fates(source_database)
    assert {name: fates[name] for name in _OWN} == dict.fromkeys(_OWN, "recreated and proved")
    execute(source_database, "REVOKE USAGE ON DOMAIN secret FROM PUBLIC")
    assert inventories.fates(source_database)["rights public"] == "by hand"


def test_a_tick_holds_until_its_item_changes(inventories: Inventories, supabase: Project) -> None:
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
