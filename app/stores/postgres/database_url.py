"""The URL of a PostgreSQL as people write it, turned into what SQLAlchemy and psycopg take."""

import os
import re
from urllib.parse import quote, unquote, urlsplit

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
# libpq's own form ("Connection URIs"): SQLAlchemy reads the hosts only where they stand at the end.
_SEVERAL_HOSTS = re.compile(
    r"(?P<scheme>[\w+]+)://((?P<login>[^/?]*)@)?(?P<hosts>[^/?@]*,[^/?@]*)(?P<path>(/[^?]*)?)([?](?P<query>.*))?"
)
_HOST_AND_PORT = re.compile(r"(?P<host>\[[^\]]+\]|[^:\[\]]*)(:(?P<port>\d*))?")

_DATABASE_HOST = re.compile(r"db\.(?P<project>[a-z0-9]+)\.supabase\.co")
_DEFAULT_PORTS = {"", "5432"}
_POOLERS = ".pooler.supabase.com"


def sqlalchemy_url(text: str, *, name: str = "DATABASE_URL") -> URL:
    """Parse a URL that begins with postgres://, postgresql:// or postgresql+psycopg://.

    Prisma's parameters are left out; everything else goes on to libpq. A host written with percent signs, as the
    directory of a socket is, becomes the parameter `host`: libpq decodes it in either place, SQLAlchemy only there. So
    do several hosts and their ports. Of several hosts of DATABASE_URL the one that takes writes is meant, unless
    `target_session_attrs` says otherwise.

    Args:
        name: the setting or option that it comes from, for messages.

    Raises:
        SettingsError: not a PostgreSQL URL; the text of the URL is not repeated, since it may hold a password.
    """
    url = _parsed(text, name)
    if url.drivername not in {"postgres", "postgresql", "postgresql+psycopg"}:
        raise SettingsError(f"{name} begins with {url.drivername}://; it should begin with postgresql://")
    if "@" in f"{url.host}{url.database}" or "#" in (url.host or ""):  # a piece of the password
        raise SettingsError(
            f"{name} has a password with signs that an address means otherwise; write @ as %40, # as %23, / as %2F, "
            "? as %3F and % as %25"
        )
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
    if len(places := hosts_of(url)) > 1:
        url = url.update_query_dict({"port": ",".join(port for _, port in places)})  # SQLAlchemy wants one for each
        if name == "DATABASE_URL" and "target_session_attrs" not in url.query:
            url = url.update_query_dict({"target_session_attrs": "read-write"})
    return url


def schemas_of_url(text: str, *, name: str = "DATABASE_URL") -> Schemas:
    """Where the tables are that an address means: `public`, or what its parameter `schema` says."""
    return Schemas(_schema(_parsed(text, name)))


def _schema(url: URL) -> str:
    return str(url.query.get("schema", "public"))


def hosts_of(url: URL) -> list[tuple[str, str]]:
    """Each host of a URL that `sqlalchemy_url` gave, and its port; "" is libpq's default.

    Raises:
        SettingsError: as many ports as hosts, or one for all, are expected.
    """
    hosts = str(url.query.get("host") or url.host or "").split(",")
    ports = str(url.query.get("port") or url.port or "").split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    if len(ports) != len(hosts):
        raise SettingsError(f"the URL names {len(hosts)} hosts and {len(ports)} ports; give each host its port")
    return list(zip(hosts, ports, strict=True))


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
    places = [f"{host or 'local socket'}{'' if port in _DEFAULT_PORTS else f':{port}'}" for host, port in hosts_of(url)]
    project = (url.username or "").partition(".")[2]
    schema = _schema(_parsed(text, "DATABASE_URL"))
    shown = "" if schema == "public" else f"?schema={schema}"
    return f"{f'{project}@' if project else ''}{','.join(places)}/{url.database}{shown}"


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
    try:
        url = make_url(_with_hosts_at_the_end(text.strip()))
    except (ArgumentError, ValueError):
        raise SettingsError(
            f"{name} is not a URL; it should look like postgresql://user:password@host:5432/database"
        ) from None
    if repeated := sorted(key for key, value in url.query.items() if not isinstance(value, str)):
        raise SettingsError(f"{name} gives a parameter more than once: {', '.join(repeated)}")
    return url


def _with_hosts_at_the_end(text: str) -> str:
    """The same URL, with its several hosts and their ports as parameters."""
    found = _SEVERAL_HOSTS.fullmatch(text)
    if found is None:
        return text
    places = [_HOST_AND_PORT.fullmatch(place) for place in found["hosts"].split(",")]
    if not all(places):
        raise ValueError("a host or a port is none")
    hosts = ",".join(unquote(place["host"]).strip("[]") for place in places if place)
    ports = ",".join(place["port"] or "" for place in places if place)
    query = found["query"] or ""
    given = "&".join(
        f"{name}={quote(value, safe=',')}"
        for name, value in (("host", hosts), ("port", ports.strip(",") and ports))
        if value and not re.search(rf"(^|&){name}=", query)  # libpq prefers the parameter
    )
    login = "" if found["login"] is None else f"{found['login']}@"
    return f"{found['scheme']}://{login}{found['path'] or '/'}?{'&'.join(part for part in (query, given) if part)}"
