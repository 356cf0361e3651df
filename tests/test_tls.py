"""`sslmode=verify-full`: the server's own certificate is taken, any other refused, wherever a connection is made."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from app.data_layer import open_data_layer
from app.schema import revisions
from app.settings import Settings
from tests.cli.command import Command
from tests.support.certificates import Authority
from tests.support.tls_front import TlsFront

PASSWORD = "password-of-the-database"


@dataclass(frozen=True)
class Authorities:
    """The one that the settings name, and another."""

    own: Authority
    other: Authority


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> Authorities:
    directory = tmp_path_factory.mktemp("certificates")
    return Authorities(Authority.make(directory, "own"), Authority.make(directory, "other"))


Certificate = Callable[[Authorities], Path | None]
GOOD: Certificate = lambda made: made.own.sign("127.0.0.1")  # noqa: E731
REFUSED: dict[str, Certificate] = {
    "of another authority": lambda made: made.other.sign("127.0.0.1"),
    "for another address": lambda made: made.own.sign("127.0.0.2"),
    "for another name": lambda made: made.own.sign("database.example.com"),
    "expired": lambda made: made.own.sign("127.0.0.1", days_left=-1),
    "none at all": lambda made: None,
}


@contextmanager
def front(url: str, authorities: Authorities, certificate: Certificate) -> Iterator[tuple[TlsFront, str]]:
    """A front with a certificate, and the URL that leads there with everything checked."""
    with TlsFront(url, certificate(authorities)) as opened:
        way = make_url(url).set(host="127.0.0.1", port=opened.port, query={})
        way = way.update_query_dict({"sslmode": "verify-full", "sslrootcert": str(authorities.own.path)})
        if not way.password:  # the embedded server asks for none
            way = way.set(password=PASSWORD)
        yield opened, way.set(drivername="postgresql").render_as_string(hide_password=False)


async def test_the_data_layer_takes_its_own_server(database_url: str, authorities: Authorities) -> None:
    with front(database_url, authorities, GOOD) as (opened, url):
        async with open_data_layer(Settings(_env_file=None, database_url=url, cutover_stage="complete")) as data:
            assert (await data.get_company(1)).success
            assert (await data.upsert_company({"company_id": 1, "title": "x"})).success
        assert opened.logins > 0


@pytest.mark.parametrize("certificate", REFUSED)
async def test_the_data_layer_refuses_another(
    database_url: str, authorities: Authorities, certificate: str, caplog: pytest.LogCaptureFixture
) -> None:
    with front(database_url, authorities, REFUSED[certificate]) as (opened, url), caplog.at_level(logging.DEBUG):
        settings = Settings(_env_file=None, database_url=url, cutover_stage="complete", query_timeout=3)
        async with open_data_layer(settings) as data:
            read = await data.get_company(1)
            write = await data.upsert_company({"company_id": 1, "title": "x"})
        for answer in (read, write):
            assert (answer.success, answer.error_code) == (False, "unavailable")
            assert answer.error is not None
            assert "sslmode=verify-full" in answer.error
            assert "sslrootcert" in answer.error
        assert opened.logins == 0
        assert PASSWORD not in f"{read} {write} {caplog.text}"


def test_the_commands_take_their_own_servers(
    database_url: str, fresh_database: str, authorities: Authorities, command: Command
) -> None:
    revisions.upgrade(fresh_database)
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO companies (company_id, title) VALUES (1, 'x')")
    with (
        front(database_url, authorities, GOOD) as (source, source_url),
        front(fresh_database, authorities, GOOD) as (target, target_url),
    ):
        for name in ("preflight", "copy", "verify"):
            outcome = command(name, DATABASE_URL=target_url, MIGRATION_SOURCE=source_url)
            assert outcome.code == 0, outcome
        assert source.logins > 0
        assert target.logins > 0


# Each command with one of the certificates
TARGETS = list(zip(["preflight", "copy", "verify", "sync", "status"], REFUSED, strict=True))
SOURCES = list(zip(["copy", "verify", "sync", "preflight", "copy"], REFUSED, strict=True))


@pytest.mark.parametrize(("words", "certificate"), TARGETS)
def test_the_commands_refuse_another_target(
    database_url: str, authorities: Authorities, command: Command, words: str, certificate: str
) -> None:
    with front(database_url, authorities, REFUSED[certificate]) as (opened, url):
        outcome = command(words, DATABASE_URL=url, MIGRATION_SOURCE=database_url)
        assert opened.logins == 0
    assert outcome.code == 1
    assert "DATABASE_URL" in outcome.err + outcome.out
    assert "sslrootcert" in outcome.err + outcome.out


@pytest.mark.parametrize(("words", "certificate"), SOURCES)
def test_the_commands_refuse_another_source(
    database_url: str, fresh_database: str, authorities: Authorities, command: Command, words: str, certificate: str
) -> None:
    revisions.upgrade(fresh_database)
    with front(database_url, authorities, REFUSED[certificate]) as (opened, url):
        outcome = command(words, DATABASE_URL=fresh_database, MIGRATION_SOURCE=url)
        assert opened.logins == 0
    assert outcome.code == 1
    assert "--source" in outcome.err + outcome.out
    assert "sslrootcert" in outcome.err + outcome.out
