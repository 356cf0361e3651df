"""Fills a database at head with a made-up salon."""

import random
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime
from itertools import chain
from zoneinfo import ZoneInfo

import psycopg
from psycopg import sql

from app.embedded.salon.clients import Person, client_rows, people
from app.embedded.salon.hard_values import READABLE, UNREADABLE, UNREADABLE_KEY, every_character
from app.embedded.salon.ids import COMPANY_ID, TIMEZONE, Row
from app.embedded.salon.offer import company_row, schedule_rows, service_rows, staff_rows
from app.embedded.salon.visits import booking_rows, dialog_rows
from app.embedded.salon.whatsapp import key_rows, login_row
from app.stores.postgres.database_url import libpq_url

_FIRST_HARD_CLIENT = 10  # the first ten keep plain values, for people who look at them


def fill_salon(
    database_url: str,
    *,
    companies: int = 1,
    clients: int = 1304,
    services: int = 63,
    staff: int = 12,
    schedules: int = 44,
    bookings: int = 45,
    dialog_contexts: int = 21,
    baileys_keys: int = 1127,
    seed: int = COMPANY_ID,
    today: date | None = None,
    hard_values: bool = False,
) -> dict[str, int]:
    """Fill the tables, in one transaction; the same arguments give the same rows, ids included, in empty tables.

    Args:
        database_url: as in DATABASE_URL; a database at head whose tables are empty.
        companies: salons, `COMPANY_ID` and on; each has one WhatsApp login and as many rows as the other arguments say.
        today: the day that schedules and bookings lie around; by default the salon's today.
        hard_values: adds rows with values that Python cannot hold, and a text of every character.

    Returns:
        Rows by table.

    Raises:
        ValueError: schedules or bookings without the staff, services and clients that they need.
        psycopg.Error: the database cannot be reached, is not at head, or holds these rows already.
    """
    if (schedules and not staff) or (bookings and not (staff and services and clients)):
        raise ValueError("schedules need staff; bookings need staff, services and clients")
    day = today or datetime.now(ZoneInfo(TIMEZONE)).date()
    written: dict[str, int] = {}
    with psycopg.connect(libpq_url(database_url)) as connection, connection.cursor() as cursor:
        for salon in range(companies):
            company_id = COMPANY_ID + salon

            def chance(part: str, company_id: int = company_id) -> random.Random:
                # Each table has its own, so that another size of one leaves the others as they are.
                return random.Random(f"{seed}:{company_id}:{part}")  # noqa: S311

            persons = people(chance("people"), salon, clients)
            rows: dict[str, Iterable[Row]] = {
                "companies": [company_row(company_id, salon, day)],
                "clients": _clients(chance, persons, company_id, salon, day, staff, hard_values),
                "services": service_rows(chance("services"), company_id, services, day),
                "staff": staff_rows(chance("staff"), company_id, staff, services, day),
                "staff_schedules": schedule_rows(company_id, schedules, staff, day),
                "bookings": booking_rows(chance("bookings"), company_id, bookings, persons, services, staff, day),
                "dialog_contexts": dialog_rows(chance("dialogs"), company_id, salon, dialog_contexts, persons, day),
                "whatsapp_auth": [login_row(chance("login"), company_id=company_id, salon=salon, today=day)],
                "whatsapp_keys": chain(
                    key_rows(chance("keys"), baileys_keys, company_id=company_id, salon=salon, today=day),
                    [{"company_id": str(company_id), **UNREADABLE_KEY}] if hard_values else [],
                ),
            }
            for table, content in rows.items():
                written[table] = written.get(table, 0) + _copy(cursor, table, content)
        connection.commit()
        for table in written:
            cursor.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(table)))
    return written


def _copy(cursor: psycopg.Cursor, table: str, rows: Iterable[Row]) -> int:
    """Write rows of one shape, each value as text that PostgreSQL makes the column's type of."""
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        return 0
    columns = sql.SQL(", ").join(map(sql.Identifier, first))
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), columns)
    with cursor.copy(statement) as copy:
        for row in chain([first], rows):
            copy.write_row(list(row.values()))
    return cursor.rowcount


def _clients(
    chance: Callable[[str], random.Random],
    persons: list[Person],
    company_id: int,
    salon: int,
    day: date,
    staff: int,
    hard_values: bool,
) -> Iterator[Row]:
    rows = client_rows(chance("clients"), persons, company_id=company_id, today=day, staff=staff)
    for number, row in enumerate(rows, -_FIRST_HARD_CLIENT):
        yield row | (READABLE[number] if 0 <= number < len(READABLE) else {})
    if hard_values:
        hard: tuple[Row, ...] = (*UNREADABLE, {"notes": every_character()})
        extra = people(chance("more people"), salon, len(persons) + len(hard))[len(persons) :]
        more = client_rows(chance("more clients"), extra, company_id=company_id, today=day, staff=staff)
        yield from (row | values for row, values in zip(more, hard, strict=True))
