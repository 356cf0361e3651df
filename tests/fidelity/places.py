"""Puts a pair onto a server: two databases for as long as it is moved."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from tests.fidelity.key_kinds import FOLDED
from tests.fidelity.pair import Offers, Pair, Side
from tests.support.postgres import copying_files

OWNER = "fidelity_owner"  # a role of the whole server, without any right but on what it owns
_PASSWORD = "fidelity"
FIXED = (
    "SET search_path = public; SET DateStyle = 'ISO, YMD'; SET TimeZone = 'UTC'; SET IntervalStyle = 'postgres'; "
    "SET standard_conforming_strings = on; SET array_nulls = on; SET client_encoding = 'UTF8'; SET lc_monetary = 'C'; "
    "SET default_transaction_read_only = off; SET transform_null_equals = off; SET xmloption = content; "
    "SET session_replication_role = origin; SET statement_timeout = '30s'"
)
_ORDERED = "SELECT 'B' < 'a' COLLATE {}"


@dataclass(frozen=True)
class Place:
    """A pair on a server.

    Attributes:
        source, target: URLs of a superuser, for those who prepare and look.
        as_user: the target's URL for the commands.
        module: what --metadata names.
    """

    pair: Pair
    source: str
    target: str
    as_user: str
    directory: Path
    module: str


def offers_of(admin_url: str) -> Offers:
    """What a server can do."""
    with psycopg.connect(admin_url, autocommit=True) as connection:
        row = connection.execute("SELECT current_setting('server_version_num')::int / 10000").fetchone()
        xml = False
        with suppress(psycopg.errors.FeatureNotSupported):
            xml = connection.execute("SELECT '<a/>'::xml").fetchone() is not None
        found = []
        for name in ("en-US-x-icu", "unicode", "de-x-icu", "en_US.utf8"):
            with suppress(psycopg.Error):
                ordered = connection.execute(sql.SQL(_ORDERED).format(sql.Identifier(name))).fetchone()
                found += [name] if ordered == (False,) else []
        monetary = []
        for name in ("es_AR.UTF-8", "de_DE.UTF-8", "en_US.UTF-8", "ja_JP.UTF-8"):
            with suppress(psycopg.Error):
                connection.execute(sql.SQL("SET lc_monetary = {}").format(sql.Literal(name)))
                monetary.append(name)
    return Offers(row[0] if row else 0, xml, tuple(found), tuple(monetary))


def make_owner(admin_url: str) -> None:
    """Make the role that owns some of the targets."""
    with psycopg.connect(admin_url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('fidelity: role'))")
        if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [OWNER]).fetchone() is None:
            connection.execute(f"CREATE ROLE {OWNER} LOGIN PASSWORD '{_PASSWORD}'".encode())


@contextmanager
def place(admin_url: str, pair: Pair, directory: Path) -> Iterator[Place]:
    """The two databases of a pair, and its models; gone afterwards.

    Args:
        directory: where a directory of its own is made.
    """
    number = uuid.uuid4().hex[:12]
    names = [f"fidelity_{number}_{side}" for side in ("source", "target")]
    own = directory / f"{pair.seed}_{number}"
    own.mkdir()
    module = f"fidelity_models_{number}"
    (own / f"{module}.py").write_text(pair.models, encoding="utf-8")
    urls = [_url(admin_url, database=name) for name in names]
    try:
        for name, url, side in zip(names, urls, (pair.source, pair.target), strict=True):
            _make(admin_url, name, url, side, as_owner=pair.as_owner and side is pair.target)
        user = _url(urls[1], username=OWNER, password=_PASSWORD) if pair.as_owner else urls[1]
        yield Place(pair, *urls, user, own, f"{module}:METADATA")
    finally:
        with psycopg.connect(admin_url, autocommit=True) as connection:
            for name in names:
                drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
                connection.execute(drop.format(sql.Identifier(name)))


def execute(url: str, statements: Iterable[str], *, quietly: bool = False) -> None:
    """Carry out statements as a superuser under fixed settings, each by itself; one that fails is left out.

    Args:
        quietly: without triggers and rules that fire for users.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(FIXED)
        if quietly:
            connection.execute("SET session_replication_role = replica")
        for statement in statements:
            with suppress(psycopg.Error):
                connection.execute(statement.encode())


def _make(admin_url: str, name: str, url: str, side: Side, *, as_owner: bool) -> None:
    with psycopg.connect(admin_url, autocommit=True) as connection:
        owner = sql.SQL(" OWNER {}").format(sql.Identifier(OWNER)) if as_owner else sql.SQL("")
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE template0{}{}")
        connection.execute(statement.format(sql.Identifier(name), owner, copying_files(connection)))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(FIXED)
        ddl = side.ddl
        if as_owner:
            if FOLDED in ddl:  # such a type can only be made by a superuser
                connection.execute(f"{FOLDED} GRANT USAGE ON SCHEMA ext TO PUBLIC;".encode())
                ddl = ddl.replace(FOLDED, "")
            connection.execute(f"SET ROLE {OWNER}".encode())
        connection.execute(ddl.encode())
        if as_owner:
            connection.execute("RESET ROLE")
        for setting, value in side.settings.items():
            alter = sql.SQL("ALTER DATABASE {} SET {} = {}")
            connection.execute(alter.format(sql.Identifier(name), sql.Identifier(setting), sql.SQL(value)))  # type: ignore[arg-type]


def _url(url: str, **parts: str) -> str:
    return make_url(url).set(**parts).render_as_string(hide_password=False)  # type: ignore[arg-type]
