"""Copy over a database connection: streamed, in key ranges, of one moment, to the letter."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest
from psycopg.abc import Buffer
from sqlalchemy.engine import make_url

from app.embedded.salon import fill_salon
from app.migration.copy.copier import CopyOptions
from app.migration.copy.range_copier import RangeOptions
from app.migration.copy.range_loader import KeyRange, RangeLoader, TableJob
from app.migration.runs.report import Loaded
from app.migration.sources.postgres.streams import SourceStream
from app.migration.tables.metadata import select_tables
from app.models import Base
from tests.fixtures.sources import Routed, Source
from tests.migration.engine import Told, add_clients, copy_from, execute, query, row_texts, tables, value, verify_from
from tests.migration.test_foreign_schema import _DDL, _ROWS, METADATA
from tests.migration.test_quarantine import FAULTY, LOOSER_SOURCE

SMALL = CopyOptions(ranges=RangeOptions(jobs=4, range_rows=7))


async def test_a_salon_arrives_as_text_and_again_unchanged(connected: Source, database_url: str) -> None:
    rows = fill_salon(connected.url, clients=300, baileys_keys=150, hard_values=True)
    every = select_tables(Base.metadata)
    report = await copy_from(connected, database_url, every, options=SMALL)
    assert (report.complete, report.sync_due) == (True, False)
    assert {table.table: table.inserted for table in report.tables if table.inserted} == {
        name: count for name, count in rows.items() if count
    }
    for table in every:
        assert row_texts(database_url, table.name) == row_texts(connected.url, table.name)
    assert (await verify_from(connected, database_url, every)).clean
    again = await copy_from(connected, database_url, every, options=SMALL)  # its own rows are no hindrance
    assert [(table.inserted, table.updated) for table in again.tables] == [(0, 0)] * len(every)
    assert value(database_url, "SELECT count(*) FROM botdata.ranges WHERE NOT complete") == 0


async def test_an_empty_table_is_streamed_straight_and_in_binary(
    connected: Source, database_url: str, routes: list[Routed]
) -> None:
    add_clients(connected.url, 20)
    await copy_from(connected, database_url, tables("clients"), options=SMALL)
    assert sorted(routes) == [("clients", number, True, True) for number in (1, 2, 3)]
    assert value(database_url, "SELECT nextval('clients_id_seq')") == 21


async def test_rows_that_are_there_are_compared(connected: Source, database_url: str, routes: list[Routed]) -> None:
    add_clients(connected.url, 20)
    await copy_from(connected, database_url, tables("clients"), options=SMALL)
    versions = dict(query(database_url, "SELECT id, xmin::text FROM clients"))
    execute(connected.url, "UPDATE clients SET preferences = '1.10' WHERE id = 3; DELETE FROM clients WHERE id = 9")
    add_clients(connected.url, 2, first=100)
    routes.clear()
    report = await copy_from(connected, database_url, tables("clients"), options=SMALL)
    (table,) = report.tables
    assert sorted(routes) == [("clients", number, False, True) for number in (1, 2, 3)]
    assert (table.inserted, table.updated, table.unchanged, table.went) == (2, 1, 18, 1)
    now = dict(query(database_url, "SELECT id, xmin::text FROM clients"))
    assert {key for key in versions if now[key] != versions[key]} == {3}


@pytest.mark.parametrize("range_rows", [7, 100_000])
async def test_different_types_go_as_text_and_bad_rows_stand_alone(
    connected: Source, database_url: str, range_rows: int, routes: list[Routed]
) -> None:
    execute(connected.url, LOOSER_SOURCE)
    add_clients(connected.url, 64)
    for number, (fault, _, _) in FAULTY.items():
        execute(connected.url, f"UPDATE clients SET {fault} WHERE id = {number}")
    options = CopyOptions(ranges=RangeOptions(jobs=1, range_rows=range_rows))
    report = await copy_from(connected, database_url, tables("clients"), options=options)
    (table,) = report.tables
    assert not any(binary for *_, binary in routes)
    assert [(int(row.key[0]), row.sqlstate, row.place) for row in table.refused] == [
        (number, sqlstate, place) for number, (_, sqlstate, place) in FAULTY.items()
    ]
    assert {number for (number,) in query(database_url, "SELECT id FROM clients")} == set(range(1, 65)) - set(FAULTY)
    assert (table.inserted, table.missing, table.went, report.complete) == (57, (), 0, False)
    texts = "SELECT key[1]::int, row_text ->> 'yclients_id' FROM botdata.quarantine ORDER BY 1"
    assert query(database_url, texts) == query(
        connected.url, f"SELECT id, yclients_id::text FROM clients WHERE id IN {tuple(FAULTY)} ORDER BY 1"
    )
    await copy_from(connected, database_url, tables("clients"), options=options)  # what it wrote is known as its own


async def test_the_same_types_and_a_row_refused(connected: Source, database_url: str, routes: list[Routed]) -> None:
    execute(connected.url, "ALTER TABLE clients ALTER phone DROP NOT NULL")
    add_clients(connected.url, 20)
    execute(connected.url, "UPDATE clients SET phone = NULL WHERE id IN (3, 11)")
    options = replace(SMALL, ranges=RangeOptions(jobs=1, range_rows=7))
    report = await copy_from(connected, database_url, tables("clients"), options=options)
    assert routes == [
        ("clients", 1, True, True),
        ("clients", 1, False, True),
        ("clients", 2, False, True),
        ("clients", 3, False, True),
    ]
    assert [row.key for row in report.tables[0].refused] == [("3",), ("11",)]
    assert report.tables[0].inserted == 18


async def test_a_row_that_a_trigger_drops_is_missed(connected: Source, database_url: str) -> None:
    add_clients(connected.url, 5)
    execute(
        database_url,
        "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN IF new.id = 4 THEN RETURN NULL; END IF; RETURN new; END'; "
        "CREATE TRIGGER swallow BEFORE INSERT ON clients FOR EACH ROW EXECUTE FUNCTION swallow(); "
        "ALTER TABLE clients ENABLE ALWAYS TRIGGER swallow",
    )
    report = await copy_from(connected, database_url, tables("clients"), options=SMALL)
    assert (report.complete, report.tables[0].missing) == (False, (("4",),))
    execute(database_url, "INSERT INTO clients (id, yclients_id, phone) VALUES (9, 9, '7')")  # and the counts are equal
    again = await copy_from(
        connected, database_url, tables("clients"), options=replace(SMALL, overwrite=True, restart=True)
    )
    assert (again.complete, again.tables[0].missing, again.tables[0].went) == (False, (("4",),), 1)


async def test_ranges_of_composite_uuid_and_text_keys(connected: Source, database_url: str) -> None:
    execute(
        connected.url,
        "INSERT INTO whatsapp_keys (company_id, key_type, key_id, value) "
        "SELECT (n % 3)::text, CASE WHEN n % 2 = 0 THEN 'ключ' ELSE 'a''b' END, "
        "CASE n % 4 WHEN 0 THEN '' WHEN 1 THEN 'Ё' WHEN 2 THEN '\\' ELSE 'e' END || n, '1.10' "
        "FROM generate_series(1, 50) n; "
        "INSERT INTO whatsapp_auth (company_id, creds) SELECT chr(60 + n) || n, '{}' FROM generate_series(1, 40) n; "
        "INSERT INTO bookings (id, yclients_record_id, datetime) "
        "SELECT md5(n::text)::uuid, n, '2026-01-01' FROM generate_series(1, 50) n",
    )
    chosen = tables("bookings", "whatsapp_auth", "whatsapp_keys")
    options = CopyOptions(ranges=RangeOptions(jobs=4, range_rows=3))
    report = await copy_from(connected, database_url, chosen, options=options)
    assert (report.complete, [table.inserted for table in report.tables]) == (True, [50, 40, 50])
    assert value(database_url, "SELECT count(*) FROM botdata.ranges WHERE complete AND rows <= 3") == 17 + 14 + 17
    for table in chosen:
        assert row_texts(database_url, table.name) == row_texts(connected.url, table.name)


async def test_a_range_is_bounded_in_bytes_too(connected: Source, database_url: str) -> None:
    add_clients(connected.url, 200)
    execute(
        connected.url, "UPDATE clients SET notes = (SELECT string_agg(md5(n::text), '') FROM generate_series(1, 99) n)"
    )
    options = CopyOptions(ranges=RangeOptions(range_bytes=100_000))
    await copy_from(connected, database_url, tables("clients"), options=options)
    assert value(database_url, "SELECT max(rows) FROM botdata.ranges") < 60


async def test_the_copy_is_of_one_moment(connected: Source, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer changes two tables in each transaction, all through the copy: never is half of one there."""
    add_clients(connected.url, 60)
    execute(connected.url, "INSERT INTO companies (id, company_id, title) VALUES (1, 1, '0')")
    execute(connected.url, "UPDATE clients SET notes = '0'")
    original, moves = RangeLoader.load, []

    async def load(self: RangeLoader, job: TableJob, key_range: KeyRange) -> Loaded:
        moves.append(len(moves) + 1)
        execute(
            connected.url,
            f"UPDATE companies SET title = '{moves[-1]}'; UPDATE clients SET notes = '{moves[-1]}'; "
            f"INSERT INTO clients (id, yclients_id, phone) VALUES ({1000 + moves[-1]}, {1000 + moves[-1]}, '7'); "
            f"DELETE FROM clients WHERE id = {moves[-1]}",
        )
        return await original(self, job, key_range)

    monkeypatch.setattr(RangeLoader, "load", load)
    report = await copy_from(connected, database_url, tables("companies", "clients"), options=SMALL)
    assert (report.complete, len(moves) > 9) == (True, True)
    assert query(database_url, "SELECT title FROM companies") == [("0",)]
    assert query(database_url, "SELECT count(*), min(notes), max(notes), max(id) FROM clients") == [(60, "0", "0", 60)]
    assert value(database_url, "SELECT count(*) FROM botdata.snapshots") == 1


async def test_jobs_work_side_by_side(connected: Source, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    add_clients(connected.url, 60)
    original, at_once, most = RangeLoader._pipe, 0, 0

    async def pipe(self: RangeLoader, *arguments: object) -> int:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.05)
        try:
            return await original(self, *arguments)  # type: ignore[arg-type]
        finally:
            at_once -= 1

    monkeypatch.setattr(RangeLoader, "_pipe", pipe)
    report = await copy_from(connected, database_url, tables("clients"), options=SMALL)
    assert (report.complete, most) == (True, 4)
    assert row_texts(database_url, "clients") == row_texts(connected.url, "clients")


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.separate_server
async def test_fewer_jobs_where_connections_are_short(connected: Source, database_url: str, side: str) -> None:
    limited = connected.url if side == "source" else database_url
    name = value(limited, "SELECT current_database()")
    role = f"short_{name}"
    execute(limited, f"CREATE ROLE \"{role}\" LOGIN PASSWORD 'short' CONNECTION LIMIT 3")
    execute(limited, f'GRANT pg_read_all_data, pg_write_all_data TO "{role}"')
    execute(limited, f'GRANT CREATE ON DATABASE "{name}" TO "{role}"')
    try:
        add_clients(connected.url, 60)
        told = Told()
        short = make_url(limited).set(username=role, password="short").render_as_string(hide_password=False)
        used = replace(connected, url=short) if side == "source" else connected
        into = short if side == "target" else database_url
        if side == "target":
            execute(limited, f'ALTER TABLE clients OWNER TO "{role}"; GRANT ALL ON SCHEMA public TO "{role}"')
            execute(limited, f'ALTER SEQUENCE clients_id_seq OWNER TO "{role}"')
        report = await copy_from(used, into, tables("clients"), options=SMALL, told=told)
        assert report.complete
        assert [notice for notice in told.notices if notice.startswith("2 at a time in place of 4")]
        assert row_texts(database_url, "clients") == row_texts(connected.url, "clients")
    finally:
        execute(limited, f'DROP OWNED BY "{role}" CASCADE; DROP ROLE "{role}"')


async def test_a_stream_that_is_refused_ends_at_once(
    connected: Source, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(connected.url, "ALTER TABLE clients ALTER phone DROP NOT NULL")
    add_clients(connected.url, 3000)
    execute(connected.url, "UPDATE clients SET notes = repeat('ж', 3000), phone = nullif(id, 1)::text")
    original, sent = SourceStream.pieces, []

    async def counted(self: SourceStream) -> AsyncGenerator[Buffer, None]:
        sent.append(0)
        async for piece in original(self):
            sent[-1] += len(piece)
            yield piece

    monkeypatch.setattr(SourceStream, "pieces", counted)
    for last in (False, False, False, True):  # libpq may read the refusal before we look: see streams.py
        report = await copy_from(connected, database_url, tables("clients"))
        assert [row.key for row in report.tables[0].refused] == [("1",)]
        straight, staged, _ = sent  # and the keys
        if straight < staged / 2:
            break
        assert not last, (straight, staged)
        execute(database_url, "TRUNCATE clients CASCADE; DROP SCHEMA botdata CASCADE")
        sent.clear()
    assert row_texts(database_url, "clients") == [
        text for text in row_texts(connected.url, "clients") if not text.startswith("(1,")
    ]


async def test_types_of_another_schema_go_straight_in_or_staged(
    connected: Source, fresh_database: str, routes: list[Routed]
) -> None:
    """An identity that is always generated, a generated column, an enum, a domain, ranges; straight in, and staged."""
    execute(connected.url, _DDL + _ROWS)
    execute(fresh_database, _DDL)
    chosen = select_tables(METADATA)
    options = CopyOptions(ranges=RangeOptions(jobs=1, range_rows=3))
    report = await copy_from(connected, fresh_database, chosen, options=options)
    assert {(table, straight, binary) for table, _, straight, binary in routes} == {
        ("odd types", True, False),  # its enum and its domain have other numbers in each database
        ("child notes, old", True, True),
        ("only_keys", True, True),
    }
    execute(connected.url, """UPDATE "odd types" SET span = '1 year', counter = DEFAULT WHERE "Name of it" <> ''""")
    routes.clear()
    again = await copy_from(connected, fresh_database, chosen, options=options)
    assert {straight for _, _, straight, _ in routes} == {False}
    assert [(table.inserted, table.updated) for table in again.tables] == [(0, 3), (0, 0), (0, 0)]
    for table in chosen:
        assert row_texts(fresh_database, table.name) == row_texts(connected.url, table.name)
    assert (report.complete, again.complete) == (True, True)
    assert (await verify_from(connected, fresh_database, chosen)).clean
