"""A dry run: what it finds, and that it leaves no trace."""

from typing import Any

import pytest
from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, Text

from app.errors import MigrationError
from app.migration.copy.dry_run import DryRunReport, dry_run
from tests.fixtures.sources import Source
from tests.migration.engine import (
    QUICK,
    Told,
    add_clients,
    copy_from,
    execute,
    query,
    row_texts,
    source_of,
    tables,
    value,
)
from tests.migration.test_quarantine import FAULTY
from tests.migration.test_replay import fill_faulty
from tests.support.page_server import PageServer
from tests.support.postgres import PostgresServer

_TRACES = """
SELECT (SELECT string_agg(s::text, '') FROM (SELECT relname, last_value FROM pg_class c
        JOIN pg_sequences ON sequencename = relname ORDER BY 1) s),
    (SELECT string_agg(nspname || '.' || relname, ' ' ORDER BY nspname, relname) FROM pg_class c
        JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname NOT LIKE 'pg\\_%')
"""


async def _try(server: Any, target: str, *names: str, sample: int | None = None) -> DryRunReport:
    async with source_of(server, QUICK) as source:
        return await dry_run(source, target, tables(*names), Told(), sample=sample)


@pytest.mark.first_command
async def test_what_would_be_refused_and_nothing_is_touched(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    pages.max_rows = 20
    fill_faulty(source_database)
    add_clients(database_url, 3, name="the target's own")
    before, rows = query(database_url, _TRACES), row_texts(database_url, "clients")
    report = await _try(pages, database_url, "clients", "actions")
    _, clients = report.tables
    assert (report.clean, clients.rows, clients.tried) == (False, 64, 64)
    assert [(int(one.key[0]), one.sqlstate, one.place) for one in clients.examples] == [
        (number, sqlstate, place) for number, (_, sqlstate, place) in FAULTY.items()
    ]
    assert clients.refused == {
        ("22001", "name"): 1, ("23502", "phone"): 1, ("23505", "clients_yclients_company_unique"): 1,
        ("22003", None): 2, ("22007", None): 1, ("22P02", None): 1,
    }  # fmt: skip
    assert (query(database_url, _TRACES), row_texts(database_url, "clients")) == (before, rows)
    assert value(database_url, "SELECT to_regnamespace('botdata')") is None
    # The copy says the same.
    execute(database_url, "DELETE FROM clients")
    copied = (await copy_from(pages, database_url, tables("clients"))).tables[0]
    assert [refusal.key for refusal in copied.refused] == [refusal.key for refusal in clients.examples]


async def test_rows_of_every_source_are_tried_and_none_stays(source: Source, database_url: str) -> None:
    add_clients(source.database_url, 30)
    report = await _try(source, database_url, "companies", "clients")
    assert (report.clean, [table.tried for table in report.tables]) == (True, [30, 0])
    clients = report.tables[0]
    assert clients.bytes > 8192
    assert (clients.expected_bytes, clients.expected_seconds) == (clients.bytes, clients.seconds)
    assert row_texts(database_url, "clients") == []


async def test_a_sample_of_the_rows_tells_the_size_of_all(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 300)
    report = await _try(pages, database_url, "clients", sample=60)
    clients = report.tables[0]
    assert (report.sample, clients.rows, clients.tried) == (60, 300, 60)
    assert clients.expected_bytes == pytest.approx(5 * clients.bytes)
    assert clients.expected_seconds == pytest.approx(5 * clients.seconds)
    whole = await _try(pages, database_url, "clients", sample=1000)
    assert whole.tables[0].tried == 300


async def test_phones_in_keys_are_masked(pages: PageServer, source_database: str, database_url: str) -> None:
    execute(source_database, "ALTER TABLE whatsapp_keys ALTER value DROP NOT NULL")
    execute(source_database, "INSERT INTO whatsapp_keys VALUES ('1', 'session', '79000000001.0', NULL)")
    report = await _try(pages, database_url, "whatsapp_keys")
    assert report.tables[0].examples[0].key == ("1", "session", "7900***0010")


async def test_sequences_identities_and_columns_of_the_targets_own(databases: PostgresServer) -> None:
    """None of them is used: not the default of a column that the models do not know, either."""
    url = databases.create_database()
    other = databases.create_database()
    metadata = MetaData()
    table = Table(
        "things", metadata, Column("id", BigInteger, primary_key=True), Column("n", Integer), Column("s", Text)
    )
    try:
        execute(other, "CREATE TABLE things (id bigint PRIMARY KEY, n integer, s text)")
        execute(other, "INSERT INTO things SELECT i, i % 7, 'x' FROM generate_series(1, 10) i")
        execute(
            url,
            "CREATE SEQUENCE own; CREATE TABLE things (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
            "n integer CHECK (n <> 5), s text, own bigint NOT NULL DEFAULT nextval('own'), serial serial, "
            "twice integer GENERATED ALWAYS AS (n * 2) STORED); "
            "CREATE UNIQUE INDEX only_once ON things (lower(s), n) WHERE n > 2",
        )
        before = query(url, _TRACES)
        async with source_of(Source(other, "", other, is_lite=False)) as source:
            report = await dry_run(source, url, [table], Told())
        assert report.tables[0].refused == {("23514", "things_n_check"): 1, ("23505", "only_once"): 1}
        assert [(one.key, one.place) for one in report.tables[0].examples] == [
            (("5",), "things_n_check"), (("10",), "only_once"),
        ]  # fmt: skip
        assert query(url, _TRACES) == before
        assert value(url, "SELECT is_called FROM own") is False
    finally:
        databases.drop_database(url)
        databases.drop_database(other)


async def test_a_target_without_the_table(pages: PageServer, fresh_database: str) -> None:
    with pytest.raises(MigrationError, match=r"the target has no table public\.clients") as stopped:
        await _try(pages, fresh_database, "clients")
    assert (stopped.value.step, str(stopped.value.next_step)) == (
        "copy --dry-run",
        "botdata preflight, which names all that is missing; then: botdata copy --dry-run",
    )
