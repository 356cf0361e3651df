"""What a command leaves unusable in the target is said in lines and in the document, with the statement."""

from collections.abc import Iterator

import pytest

from tests.cli.command import Command
from tests.cli.test_json import check_document
from tests.migration.engine import execute
from tests.migration.test_usable import SALES_ROWS, SALES_SCHEMA, SEQUENCE_ROWS, SEQUENCES
from tests.support.page_server import PageServer
from tests.support.postgres import PostgresServer

_TABLES = ("--metadata", "tests.migration.test_usable:METADATA", "--tables", "sales,invoices")
_VIEW = 'REFRESH MATERIALIZED VIEW public."A rank"'


@pytest.fixture
def settings(databases: PostgresServer, fresh_database: str) -> Iterator[dict[str, str]]:
    """Both ends, the source over REST; SOURCE is its database."""
    source = databases.create_database()
    try:
        for url in (source, fresh_database):
            execute(url, SALES_SCHEMA + SEQUENCES)
        execute(source, f"{SALES_ROWS}; {SEQUENCE_ROWS}")
        execute(source, "ALTER TABLE sales ADD notes text")
        with PageServer(source) as pages:
            yield {
                "SUPABASE_URL": pages.url,
                "SUPABASE_KEY": pages.service_key,
                "DATABASE_URL": fresh_database,
                "SOURCE": source,
            }
    finally:
        databases.drop_database(source)


def test_a_copy_and_a_sync_name_them(command: Command, settings: dict[str, str]) -> None:
    outcome = command("copy", *_TABLES, "--ignore-column", "sales.notes", **settings)
    assert outcome.code == 0, outcome.err
    assert "NOT USABLE YET: sequence public.invoice_no: invoices.number takes numbers from it" in outcome.out
    assert "at the source: SELECT last_value FROM public.invoice_no; then in the target: SELECT setval" in outcome.out
    assert "but 1 object of the target not usable before the above is run. Next: botdata verify" in outcome.out
    assert "not seen: sequences of the target that no column uses stay as they are" in outcome.out
    outcome = command("copy", *_TABLES, "--ignore-column", "sales.notes", "--json", **settings)
    document = check_document(outcome.out, "copy")
    assert [one["object"] for one in document["not_usable"]] == ["sequence public.invoice_no"]
    assert document["not_seen"]
    execute(settings["SOURCE"], "UPDATE sales SET cents = 1 WHERE id = 1")
    outcome = command("sync", *_TABLES, "--json", **settings)
    document = check_document(outcome.out, "sync")
    assert (outcome.code, document["ok"]) == (0, True)
    assert [one["statement"] for one in document["not_usable"]][1:] == [
        "REFRESH MATERIALIZED VIEW public.totals", _VIEW
    ]  # fmt: skip
    execute(settings["SOURCE"], "UPDATE sales SET cents = 2 WHERE id = 1")
    outcome = command("sync", *_TABLES, **settings)
    assert f"  {_VIEW}" in outcome.out
    assert "but 3 objects of the target not usable" in outcome.out


def test_over_a_connection_nothing_is_left(command: Command, settings: dict[str, str]) -> None:
    connected = {"DATABASE_URL": settings["DATABASE_URL"], "MIGRATION_SOURCE": settings["SOURCE"]}
    outcome = command("copy", *_TABLES, "--ignore-column", "sales.notes", **connected)
    assert (outcome.code, "NOT USABLE" in outcome.out, "not seen" in outcome.out) == (0, False, False)


def test_verify_fails_where_the_application_would(command: Command, settings: dict[str, str]) -> None:
    assert command("copy", *_TABLES, "--ignore-column", "sales.notes", **settings).code == 0
    outcome = command("verify", *_TABLES, **settings)
    assert (outcome.code, "no difference" in outcome.out) == (0, True)
    assert "sales: not compared: notes (only the source has it)" in outcome.out
    execute(settings["DATABASE_URL"], f"{_VIEW} WITH NO DATA")
    outcome = command("verify", *_TABLES, **settings)
    assert (outcome.code, "no difference, in" in outcome.out) == (1, False)
    assert 'NOT USABLE YET: materialized view public."A rank": it was never filled' in outcome.out
    assert f"Next: {_VIEW}; then: botdata verify --tables" in outcome.out
    document = check_document(command("verify", *_TABLES, "--json", **settings).out, "verify")
    assert (document["ok"], document["not_usable"][0]["statement"]) == (False, _VIEW)
    (sales,) = [one for one in document["tables"] if one["table"] == "sales"]
    assert sales["not_compared"] == [{"column": "notes", "why": "only the source has it"}]
