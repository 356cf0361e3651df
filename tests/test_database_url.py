"""DATABASE_URL as people, Supabase, Heroku and Prisma write it."""

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from app.database_url import libpq_url, shown_url, sqlalchemy_url, uses_pgbouncer
from app.errors import SettingsError


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_schemes(scheme: str) -> None:
    text = f" {scheme}://user:p%40ss%2Fw%25rd@db.example:6543/botdata\n"
    assert sqlalchemy_url(text).drivername == "postgresql+psycopg"
    assert conninfo_to_dict(libpq_url(text)) == {
        "user": "user", "password": "p@ss/w%rd", "host": "db.example", "port": "6543", "dbname": "botdata",
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
        ("postgresql://u:p@swordfish@db.example/d", "more than one @ before its host"),
        ("https://swordfish.example/d", "begins with https://"),
        ("postgresql://u:swordfish@h", "names no database"),
        ("postgresql://u:swordfish@h/", "names no database"),
        ("postgresql://u:swordfish@h/d?schema=private", "a schema other than public"),
        ("postgresql://u:swordfish@h/d?supa=pooler&sslmode=require&x=swordfish", "does not know: supa, x$"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as refused:
        libpq_url(text)
    assert "swordfish" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://u:swordfish@db.example:5432/botdata?sslmode=require", "db.example/botdata"),
        ("postgresql://u@/botdata?host=/run/postgresql", "/run/postgresql/botdata"),
        ("postgresql:///botdata", "local socket/botdata"),
    ],
)
def test_shown_to_people(text: str, shown: str) -> None:
    assert shown_url(text) == shown
