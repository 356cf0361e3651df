"""The servers of a rehearsal: the real target's, and the one that the throw-away database is made on."""

from dataclasses import dataclass

from psycopg import AsyncConnection, sql
from sqlalchemy.engine import make_url

from app.common.schemas import address_in
from app.errors import MigrationError
from app.migration.target.target_session import connect_named
from app.next_step import Command, NextStep
from app.state.fetching import fetch_row
from app.stores.postgres.database_url import libpq_url, schemas_of_url, shown_url

STEP = "rehearse"
PREFIX = "botdata_rehearsal_"
NOTHING_DONE = "everything; nothing was copied"
_MAY_CREATE = "SELECT rolcreatedb OR rolsuper, rolname FROM pg_roles WHERE rolname = current_user"


@dataclass(frozen=True, slots=True)
class Places:
    """The servers.

    Attributes:
        target: DATABASE_URL, where the record is kept.
        on: of `--on`, a database of the server to rehearse on; None: the target's own server.
    """

    target: str
    on: str | None = None

    @property
    def label(self) -> str | None:
        """By what the record names the server: no user, no password; None for the target's own."""
        return None if self.on is None else shown_url(self.on).rpartition("/")[0]

    @property
    def setting(self) -> str:
        """What names the server."""
        return "DATABASE_URL" if self.on is None else "--on"

    @property
    def shown(self) -> str:
        """The server, for people."""
        return self.label or shown_url(self.target).rpartition("/")[0]

    def url(self, name: str) -> str:
        """The address of a database of the server, with the target's schema."""
        server = make_url(libpq_url(self.on or self.target, name=self.setting))
        address = libpq_url(server.set(database=name).render_as_string(hide_password=False))
        schema = schemas_of_url(self.target).data
        return address if schema == "public" else address_in(address, schema)

    async def target_session(self) -> AsyncConnection:
        """A session at the real target; the caller closes it, and raises as `server_session`."""
        return await _session(self.target, "DATABASE_URL")

    async def server_session(self, name: str | None = None) -> AsyncConnection:
        """A session at the server, in the database that was given or in another; the caller closes it.

        Raises:
            MigrationError: it cannot be reached, refuses the login, or is a transaction pooler.
        """
        return await _session((self.on or self.target) if name is None else self.url(name), self.setting)


async def _session(url: str, setting: str) -> AsyncConnection:
    return await connect_named(url, setting=setting, step=STEP, pending=NOTHING_DONE)


async def require_may_create(connection: AsyncConnection, setting: str) -> None:
    """Stop where the role may make no database.

    Raises:
        MigrationError: gives the statement that lets it.
    """
    may_create, role = await fetch_row(connection, _MAY_CREATE)
    if not may_create:
        statement = sql.SQL("ALTER ROLE {} CREATEDB").format(sql.Identifier(role)).as_string(None)
        raise MigrationError(
            f"the role in {setting} may not make a database, and a rehearsal has one of its own",
            step=STEP,
            pending=NOTHING_DONE,
            next_step=NextStep(
                f"{statement}, or another server with --on, then: ",
                Command(STEP),
            ),
        )
