"""DATABASE_URL as people, Supabase, Heroku and Prisma write it."""

from urllib.parse import quote

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import NullPool, create_engine, select
from sqlalchemy.engine import make_url

from app.errors import SettingsError
from app.stores.postgres.database_url import libpq_url, shown_url, source_label, sqlalchemy_url, uses_pgbouncer
from tests.support.postgres import PostgresServer


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_schemes(scheme: str) -> None:
    text = f" {scheme}://user:p%40ss%2Fw%25rd@db.example:6543/botdata\n"
    assert sqlalchemy_url(text).drivername == "postgresql+psycopg"
    assert conninfo_to_dict(libpq_url(text)) == {
        "user": "user", "password": "p@ss/w%rd", "host": "db.example", "port": "6543", "dbname": "botdata",
    }  # fmt: skip


def test_blanks_in_every_part() -> None:
    text = "postgresql://some%20one:a%20b+c%25@host/data%20base?application_name=x%20y"
    assert conninfo_to_dict(libpq_url(text)) == {
        "user": "some one", "password": "a b+c%", "host": "host", "dbname": "data base", "application_name": "x y",
    }  # fmt: skip


def test_prisma_parameters_do_no_harm() -> None:
    prisma = (
        "schema=public&pgbouncer=true&connection_limit=1&pool_timeout=0&socket_timeout=5&statement_cache_size=0"
        "&sslaccept=strict&sslidentity=x&single_use_connections=true&max_connection_lifetime=1"
        "&max_idle_connection_lifetime=1"
    )
    text = f"postgresql://u:p@h/d?sslmode=require&{prisma}&connect_timeout=9"
    assert conninfo_to_dict(libpq_url(text)) == {
        "user": "u", "password": "p", "host": "h", "dbname": "d", "sslmode": "require", "connect_timeout": "9",
    }  # fmt: skip
    assert uses_pgbouncer(text)
    assert not uses_pgbouncer("postgresql://h/d?pgbouncer=false")
    assert not uses_pgbouncer("postgresql://h/d")


def test_prisma_parameters_reach_no_server(database_url: str) -> None:
    separator = "&" if "?" in database_url else "?"
    with psycopg.connect(libpq_url(f"{database_url}{separator}pgbouncer=true&schema=public")) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a URL"),
        ("botdata", "is not a URL"),
        ("host=h dbname=swordfish", "is not a URL"),
        ("postgresql://u:swordfish@h:port/d", "is not a URL"),
        ("mysql://u:swordfish@h/d", "begins with mysql://; it should begin with postgresql://"),
        ("postgresql+asyncpg://u:swordfish@h/d", r"begins with postgresql\+asyncpg://"),
        ("postgresql://u:p@swordfish@db.example/d", "write @ as %40"),
        ("postgresql://u:p@sword#fish@db.example/d", "# as %23"),
        ("postgresql://u:p@swordfish/x@db.example/d", "/ as %2F"),
        ("postgresql://u:p@swordfish#1/%@db.example:5432/d", "and % as %25"),
        ("https://swordfish.example/d", "begins with https://"),
        ("postgresql://u:swordfish@h", "names no database"),
        ("postgresql://u:swordfish@h/", "names no database"),
        ("postgresql://u:swordfish@h1:5432,h2:port/d", "is not a URL"),
        ("postgresql://u:swordfish@h1:5432,h2:5432:1/d", "is not a URL"),
        ("postgresql://u:p@swordfish@h1,h2/d", "write @ as %40"),
        ("postgresql://u:swordfish@h1,h2:5432", "names no database"),
        ("postgresql://u:swordfish@h1,h2,h3/d?port=1,2", "3 hosts and 2 ports"),
        ("postgresql://u:sword,fish:1,@h:port/d", "is not a URL"),
        ("postgresql://u:swordfish@/d?host=a&host=b", "a parameter more than once: host$"),
        ("postgresql://u:swordfish@h/d?pgbouncer=true&pgbouncer=swordfish", "a parameter more than once: pgbouncer$"),
        ("postgresql://u:swordfish@h/d?schema=Private", "a schema \\(schema=...\\) that must be of small letters"),
        ("postgresql://u:swordfish@h/d?supa=pooler&sslmode=require&x=swordfish", "does not know: supa, x$"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as refused:
        libpq_url(text)
    assert "swordfish" not in str(refused.value)


@pytest.mark.parametrize("text", ["nonsense-swordfish", "postgresql://u:swordfish@h/d?pgbouncer=true&pgbouncer=false"])
def test_what_is_refused_when_asked_for_a_pooler(text: str) -> None:
    with pytest.raises(SettingsError) as refused:
        uses_pgbouncer(text)
    assert "swordfish" not in str(refused.value)


def _given(text: str) -> tuple[dict[str, object], dict[str, object]]:
    """What psycopg is given by way of SQLAlchemy, and what libpq reads in the URL."""
    url = sqlalchemy_url(text)
    _, options = url.get_dialect()().create_connect_args(url)
    return {name: str(value) for name, value in options.items()}, dict(conninfo_to_dict(libpq_url(text)))


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("%2Ftmp%2Fa%20b", "/tmp/a b"),
        ("%2ftmp%2fdir", "/tmp/dir"),
        ("%2Ftmp%2F100%25+", "/tmp/100%+"),
        ("[fe80::1%25eth0]", "fe80::1%eth0"),
    ],
)
def test_hosts_that_sqlalchemy_and_libpq_must_read_alike(address: str, host: str) -> None:
    expected = {"user": "u", "host": host, "dbname": "d"}
    assert _given(f"postgresql://u@{address}/d") == (expected, expected)
    with_port = {**expected, "port": "5433"}
    assert _given(f"postgresql://u@{address}:5433/d") == (with_port, with_port)


def test_a_host_in_both_places() -> None:
    text = "postgresql://u@%2Ftmp%2Fdir/d?host=db.example"
    expected = {"user": "u", "host": "db.example", "dbname": "d"}
    assert _given(text) == (expected, expected)
    assert shown_url(text) == "db.example/d"


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("u@/d?host=h1,h2&port=5432,5433", "h1,h2", "5432,5433"),
        ("u@h1:5432,h2:5433/d", "h1,h2", "5432,5433"),
        ("u@h1,h2:5433/d", "h1,h2", ",5433"),
        ("u@h1:5433,h2/d?host=h3,h4", "h3,h4", "5433,"),
        ("u@[fe80::1]:5433,%2Ftmp%2Fdir:5434,h3/d", "fe80::1,/tmp/dir,h3", "5433,5434,"),
        ("u@/d?host=h1,h2&port=6000", "h1,h2", "6000,6000"),
    ],
)
def test_several_hosts(address: str, host: str, port: str) -> None:
    expected = {"user": "u", "host": host, "port": port, "dbname": "d", "target_session_attrs": "read-write"}
    assert _given(f"postgresql://{address}") == (expected, expected)


def test_several_hosts_without_ports_and_with_what_else_was_said() -> None:
    text = "postgres://u:p%40,x@h1,h2/d?sslmode=require&target_session_attrs=any"
    said = {"user": "u", "password": "p@,x", "host": "h1,h2", "port": ",", "dbname": "d", "sslmode": "require"}
    expected = {**said, "target_session_attrs": "any"}
    assert _given(text) == (expected, expected)
    assert "target_session_attrs" not in sqlalchemy_url("postgresql://u@h1,h2/d", name="--source").query


def test_a_socket_directory_leads_to_the_server(databases: PostgresServer) -> None:
    admin = make_url(databases.admin_url)
    host = str(admin.query.get("host") or admin.host)
    query = {name: value for name, value in admin.query.items() if name != "host"}
    credentials = admin.set(host="HOST", query=query).render_as_string(hide_password=False)
    text = credentials.replace("HOST", quote(host, safe=""))
    engine = create_engine(sqlalchemy_url(text), poolclass=NullPool)
    with engine.connect() as connection, psycopg.connect(libpq_url(text)) as other:
        assert connection.scalar(select(1)) == 1
        assert other.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://u:swordfish@db.example:5432/botdata?sslmode=require", "db.example/botdata"),
        ("postgresql://u@/botdata?host=/run/postgresql", "/run/postgresql/botdata"),
        ("postgresql://u@%2Frun%2Fpostgresql/botdata", "/run/postgresql/botdata"),
        ("postgresql:///botdata", "local socket/botdata"),
        ("postgresql://u@db.example:5433/botdata", "db.example:5433/botdata"),
        ("postgresql://u@/botdata?host=/run/postgresql&port=5433", "/run/postgresql:5433/botdata"),
        ("postgresql://u:swordfish@h1:5432,h2:5433,h3/botdata", "h1,h2:5433,h3/botdata"),
        ("postgresql://u:swordfish@/botdata?host=h1,h2&port=5433", "h1:5433,h2:5433/botdata"),
        (
            "postgresql://postgres.abcdefgh:swordfish@aws-0-eu.pooler.supabase.com:5432/postgres",
            "abcdefgh@aws-0-eu.pooler.supabase.com/postgres",
        ),
    ],
)
def test_shown_to_people(text: str, shown: str) -> None:
    assert shown_url(text) == shown


@pytest.mark.parametrize(
    "address",
    [
        "https://abcd1234.supabase.co",
        "https://abcd1234.supabase.co/",
        "postgresql://postgres:p@db.abcd1234.supabase.co:5432/postgres",
        "postgres://reader@DB.abcd1234.supabase.co/postgres?sslmode=require",
        "postgresql://postgres.abcd1234:p@aws-0-eu-west-1.pooler.supabase.com:5432/postgres",
        "postgresql://reader.abcd1234@aws-1-us-east-1.pooler.supabase.com:6543/postgres?pgbouncer=true",
        "postgresql://postgres.abcd1234:p@/postgres?host=aws-0-eu-west-1.pooler.supabase.com",
    ],
)
def test_one_name_for_the_addresses_of_a_project(address: str) -> None:
    assert source_label(address) == "abcd1234.supabase.co"


@pytest.mark.parametrize(
    ("address", "label"),
    [
        ("https://api.example.test:8443", "api.example.test:8443"),
        ("postgresql://postgres@db.abcd1234.supabase.co/other", "db.abcd1234.supabase.co/other"),
        ("postgresql://postgres@db.abcd1234.supabase.co.example.test/postgres",
         "db.abcd1234.supabase.co.example.test/postgres"),
        ("postgresql://postgres@aws-0-eu.pooler.supabase.com/postgres", "aws-0-eu.pooler.supabase.com/postgres"),
        ("postgresql://postgres.abcd1234@pooler.example.test/postgres", "abcd1234@pooler.example.test/postgres"),
    ],
)  # fmt: skip
def test_what_is_no_project_of_supabase(address: str, label: str) -> None:
    assert source_label(address) == label
