"""Where tables are: the schema of a program's rows, and the tool's own beside it.

A statement says DATA and TOOL for them, which are no names, and the connection that carries it out puts the names of
its address there. So one process serves many schemas; a statement that is sent by another way is a syntax error, and
never reads another salon's rows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from psycopg import AsyncConnection

DATA, TOOL = "<data schema>", "<botdata schema>"
_LONGEST = 55  # with "_botdata", 63, the longest name that PostgreSQL keeps
_NAME = re.compile(r"[a-z_][a-z0-9_]*")
# Of PostgreSQL, of this tool, of Supabase and its extensions, and of Citus.
_RESERVED = re.compile(
    r"pg_\w*|information_schema|botdata|\w+_botdata|auth|storage|extensions|_?realtime|vault|graphql|graphql_public|"
    r"pgbouncer|pgsodium\w*|supabase_\w+|_supavisor|_analytics|cron|net|pgmq\w*|pgtle|tiger\w*|topology|"
    r"citus|citus_internal|columnar|columnar_internal"
)

# The words that are no name unless quoted (pg_get_keywords(), catcode R and T); statements quote none.
_KEYWORDS = re.compile(
    r"all|analyse|analyze|and|any|array|as|asc|asymmetric|authorization|binary|both|case|cast|check|"
    r"collate|collation|column|concurrently|constraint|create|cross|current_catalog|current_date|"
    r"current_role|current_schema|current_time|current_timestamp|current_user|default|deferrable|desc|"
    r"distinct|do|else|end|except|false|fetch|for|foreign|freeze|from|full|grant|group|having|ilike|"
    r"in|initially|inner|intersect|into|is|isnull|join|lateral|leading|left|like|limit|localtime|"
    r"localtimestamp|natural|not|notnull|null|offset|on|only|or|order|outer|overlaps|placing|primary|"
    r"references|returning|right|select|session_user|similar|some|symmetric|system_user|table|tablesample|"
    r"then|to|trailing|true|union|unique|user|using|variadic|verbose|when|where|window|with"
)


@dataclass(frozen=True, slots=True)
class Schemas:
    """The names of both, for one connection."""

    data: str = "public"

    @property
    def tool(self) -> str:
        """The schema of the tool's own tables."""
        return "botdata" if self.data == "public" else f"{self.data}_botdata"

    def named(self, statement: str) -> str:
        """A statement with the names in place of DATA and TOOL."""
        return statement.replace(DATA, self.data).replace(TOOL, self.tool)

    def directory(self, of_all: Path) -> Path:
        """The schema's own part of a directory; for `public` the directory itself, as in older versions."""
        return of_all if self.data == "public" else of_all / self.data

    def lock(self, number: int) -> int:
        """The key of an advisory lock of this schema; for `public` the number itself, as in older versions."""
        if self.data == "public":
            return number
        return int.from_bytes(blake2b(f"{number} {self.data}".encode(), digest_size=8).digest(), "big") >> 1


def said(column: str) -> str:
    """An expression for a schema's name out of the catalog, as statements say it: DATA for their own."""
    return f"CASE {column}::text WHEN '{DATA}' THEN '{DATA[:1]}' || '{DATA[1:]}' ELSE {column}::text END"


def schemas_of(connection: AsyncConnection) -> Schemas:
    """Where the tables are that the statements of a connection mean.

    Raises:
        TypeError: it was opened in another way than by app.stores.postgres.session, so that its statements mean none.
    """
    schemas = getattr(connection.cursor_factory, "schemas", None)
    if not isinstance(schemas, Schemas):
        raise TypeError("the connection says nothing of schemas")
    return schemas


# As SQLAlchemy takes an address apart; a password may hold any sign but @.
_LOGIN = re.compile(r"\s*\w[\w+]*://([^:/]*(:[^@]*)?@)?")


def schema_in(address: str) -> str | None:
    """What the address of a PostgreSQL says by its parameter `schema`."""
    said = parse_qs(_after_login(address).strip().partition("?")[2]).get("schema")
    return said[-1] if said else None


def address_in(address: str, schema: str) -> str:
    """An address with a schema, in place of the one that it names, if it does."""
    rest = _after_login(address.strip())
    place, _, query = rest.partition("?")
    others = [part for part in query.split("&") if part and not part.startswith("schema=")]
    return f"{address.strip().removesuffix(rest)}{place}?{'&'.join([*others, f'schema={schema}'])}"


def _after_login(address: str) -> str:
    found = _LOGIN.match(address)
    return address[found.end() :] if found else ""


def trouble_with_name(name: str) -> str | None:
    """Why no schema can be named so here; None where one can."""
    if not _NAME.fullmatch(name):
        return "must be of small letters a-z, digits and _, and begin with no digit"
    if len(name) > _LONGEST:
        return f"is longer than {_LONGEST} characters"
    return None


def trouble_with_target(name: str) -> str | None:
    """Why the rows cannot be moved to a schema of this name; None where they can."""
    if (trouble := trouble_with_name(name)) is not None:
        return trouble
    if _KEYWORDS.fullmatch(name):
        return "is a word of SQL"
    return (
        "is the name of a schema of PostgreSQL's, Supabase's or this tool's own" if _RESERVED.fullmatch(name) else None
    )
