"""The URL of a PostgreSQL as people write it, turned into what SQLAlchemy and psycopg take."""

import os
import re
from urllib.parse import unquote, urlsplit

from psycopg.pq import Conninfo
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from app.common.schemas import Schemas, trouble_with_name
from app.errors import SettingsError

# Prisma's own parameters (its reference, "PostgreSQL connection URL"): libpq refuses them. Only `schema` and
# `pgbouncer` mean something here.
_PRISMA_PARAMETERS = {
    "connection_limit",
    "max_connection_lifetime",
    "max_idle_connection_lifetime",
    "pgbouncer",
    "pool_timeout",
    "schema",
    "single_use_connections",
    "socket_timeout",
    "sslaccept",
    "sslidentity",
    "statement_cache_size",
}
_HOSTS_WITH_PORTS = re.compile(r"\w[\w+]*://([^/?]*@)?[^/?@]*:\d*,[^/?@]*([/?]|$)")

_DATABASE_HOST = re.compile(r"db\.(?P<project>[a-z0-9]+)\.supabase\.co")
_POOLERS = ".pooler.supabase.com"

_SEVERAL_HOSTS = (
    "{name} names several hosts; one host is expected, or all of them at the end: "
    "postgresql://user:password@/database?host=HOST1,HOST2&port=5432,5432"
)


def sqlalchemy_url(text: str, *, name: str = "DATABASE_URL") -> URL:
    """Parse a URL that begins with postgres://, postgresql:// or postgresql+psycopg://.

    Prisma's parameters are left out; everything else goes on to libpq. A host written with percent signs, as the
    directory of a socket is, becomes the parameter `host`: libpq decodes it in either place, SQLAlchemy only there.

    Args:
        name: the setting or option that it comes from, for messages.

    Raises:
        SettingsError: not a PostgreSQL URL; the text of the URL is not repeated, since it may hold a password.
    """
    url = _parsed(text, name)
    if url.drivername not in {"postgres", "postgresql", "postgresql+psycopg"}:
        raise SettingsError(f"{name} begins with {url.drivername}://; it should begin with postgresql://")
    if "@" in (url.host or ""):
        raise SettingsError(f"{name} has more than one @ before its host; write @ in a password as %40")
    if not url.database:
        raise SettingsError(f"{name} names no database; add /NAME after the host")
    if (trouble := trouble_with_name(_schema(url))) is not None:
        raise SettingsError(f"{name} names a schema (schema=...) that {trouble}")
    url = url.set(drivername="postgresql+psycopg").difference_update_query(_PRISMA_PARAMETERS & url.query.keys())
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    if unknown := sorted(url.query.keys() - known):
        raise SettingsError(f"{name} has parameters that PostgreSQL does not know: {', '.join(unknown)}")
    if url.host and "%" in url.host:
        host = url.query.get("host", unquote(url.host))  # libpq prefers the parameter
        url = url.set(host=None).update_query_dict({"host": host})
    return url


def schemas_of_url(text: str, *, name: str = "DATABASE_URL") -> Schemas:
    """Where the tables are that an address means: `public`, or what its parameter `schema` says."""
    return Schemas(_schema(_parsed(text, name)))


def _schema(url: URL) -> str:
    return str(url.query.get("schema", "public"))


def libpq_url(text: str, *, name: str = "DATABASE_URL") -> str:
    """The same URL for psycopg and the PostgreSQL programs, password included."""
    rendered = sqlalchemy_url(text, name=name).set(drivername="postgresql").render_as_string(hide_password=False)
    address, mark, query = rendered.partition("?")
    # libpq knows no other way to write a blank, and SQLAlchemy writes "+" in parameters and leaves it elsewhere.
    return address.replace(" ", "%20") + mark + query.replace("+", "%20")


def uses_pgbouncer(text: str) -> bool:
    """Whether the URL says (`pgbouncer=true`) that no prepared statements can be kept."""
    return str(_parsed(text, "DATABASE_URL").query.get("pgbouncer", "")).lower() == "true"


def tls_advice(text: str) -> str | None:
    """What an address with sslmode=require, or a stricter one, wants of its server; None for other addresses."""
    mode = sqlalchemy_url(text).query.get("sslmode") or os.environ.get("PGSSLMODE")
    if mode not in {"require", "verify-ca", "verify-full"}:
        return None
    wanted = "a server with TLS" if mode == "require" else "a certificate in date, signed by what sslrootcert names"
    return f"sslmode={mode} wants {wanted}{', for the very host of the address' if mode == 'verify-full' else ''}"


def shown_url(text: str) -> str:
    """The URL for people: host and database, and what else tells one database from another, but no user or password.

    That is a port other than PostgreSQL's own, a schema other than public and, behind Supabase's pooler, where the host
    is the same for all projects, the project: the user's name ends in it (its documentation, "Connect to your
    database").
    """
    url = sqlalchemy_url(text)
    host = url.query.get("host") or url.host or "local socket"
    port = str(url.query.get("port") or url.port or "")
    project = (url.username or "").partition(".")[2]
    return "".join(
        (
            f"{project}@" if project else "",
            str(host),
            f":{port}" if port not in {"", "5432"} else "",
            f"/{url.database}",
            f"?schema={schema}" if (schema := _schema(_parsed(text, "DATABASE_URL"))) != "public" else "",
        )
    )


def source_label(text: str) -> str:
    """By which name a source is remembered: one for all the addresses of a Supabase project.

    Its API is https://PROJECT.supabase.co, its database db.PROJECT.supabase.co, and the poolers know it by the user, as
    postgres.PROJECT (its documentation, "Connect to your database"). Another database on its server is another source.

    Args:
        text: a PostgreSQL's URL, or one of an API.
    """
    if text.strip().lower().startswith(("http://", "https://")):
        return urlsplit(text.strip()).netloc.rpartition("@")[2]
    url = sqlalchemy_url(text)
    host = str(url.query.get("host") or url.host or "").lower()
    project = None
    if own := _DATABASE_HOST.fullmatch(host):
        project = own["project"]
    elif host.endswith(_POOLERS):
        project = (url.username or "").partition(".")[2].lower()
    if url.database == "postgres" and project and _schema(_parsed(text, "--source")) == "public":
        return f"{project}.supabase.co"
    return shown_url(text)


def _parsed(text: str, name: str) -> URL:
    """The URL as it is; SettingsError when it is none, or says a thing twice."""
    text = text.strip()
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        if _HOSTS_WITH_PORTS.match(text):
            raise SettingsError(_SEVERAL_HOSTS.format(name=name)) from None
        raise SettingsError(
            f"{name} is not a URL; it should look like postgresql://user:password@host:5432/database"
        ) from None
    if "," in (url.host or "") and "@" not in (url.host or ""):
        raise SettingsError(
            _SEVERAL_HOSTS.format(name=name)
        )  # libpq and SQLAlchemy disagree about the port of the first
    if repeated := sorted(key for key, value in url.query.items() if not isinstance(value, str)):
        raise SettingsError(f"{name} gives a parameter more than once: {', '.join(repeated)}")
    return url
