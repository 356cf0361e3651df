"""What a salon's schema holds that its revisions do not make: own tables, views, columns, triggers, and what differs.

The server itself makes the comparison: it runs the revisions in a schema that is rolled back, and writes the
definitions of both.
"""

import re
import secrets
from dataclasses import dataclass

from app.adopt.catalog import Catalog, differences, read_catalog, split_name
from app.common.schemas import DATA, Schemas, address_in
from app.errors import MigrationError
from app.migration.target.target_session import explained
from app.relocation.rows import tables_of
from app.schema import revisions
from app.schema.transaction import revisions_transaction
from app.state.relocation.mark import TRIGGER
from app.stores.postgres.database_url import schemas_of_url

_NOTHING = "everything; nothing was changed"
# Of what lies on a table: its name ends with the table's.
_ON_TABLES = {"constraint", "index", "trigger", "rule", "policy"}


@dataclass(frozen=True, slots=True)
class SalonCatalog:
    """What a salon's schema holds.

    Attributes:
        tables: those of the revisions, with their columns.
        own: objects that the revisions do not make so, or that are missing, each as "kind name".
        grants: what others than the owner may do.
    """

    tables: dict[str, tuple[str, ...]]
    own: tuple[str, ...]
    grants: tuple[str, ...]


async def read_salon(url: str, revision: str, *, step: str) -> SalonCatalog:
    """Look at a salon that is at a revision.

    Raises:
        MigrationError: the target cannot be reached, or does not let the role make a schema.
    """
    salon = schemas_of_url(url)
    scratch = Schemas(f"botdata_look_{secrets.token_hex(6)}")
    address = address_in(url, scratch.data)
    async with revisions_transaction(address, step=step) as (engine_connection, connection):
        try:
            await engine_connection.run_sync(lambda shared: revisions.upgrade_on(shared, address, [], revision))
        except MigrationError as error:  # of a role that may make no schema
            error.step, error.pending = step, _NOTHING
            raise
        with explained(step, pending=_NOTHING):
            tables = await tables_of(connection, scratch.data)
            made = _neutral(await read_catalog(connection, [scratch.data]), scratch.data)
            found = await read_catalog(connection, [salon.data], grants=True)
    # A function is everybody's unless it is taken from them.
    grants = [name for kind, name in found if kind == "grant" and not name.startswith("EXECUTE to PUBLIC ")]
    found = {(kind, name): definition for (kind, name), definition in found.items() if kind != "grant"}
    own = _own(made, _neutral(found, salon.data))
    return SalonCatalog(tables, tuple(one for one in own if not one.startswith(f"trigger {TRIGGER} ")), tuple(grants))


def _neutral(catalog: Catalog, schema: str) -> Catalog:
    """A catalog without the schema's name; a function's path names it, and is none in `public`."""
    path, place = re.compile(r"\n SET search_path TO [^\n]*"), re.compile(rf"(?<![\w.$]){schema}\.")
    return {
        (kind, place.sub(f"{DATA}.", name)): path.sub("", place.sub(f"{DATA}.", definition))
        for (kind, name), definition in catalog.items()
        if kind != "schema"
    }


def _own(made: Catalog, found: Catalog) -> tuple[str, ...]:
    told = []
    own_tables = {name for kind, name in found if kind == "table" and (kind, name) not in made}
    for one in differences(made, found):
        if one.kind == "column" and split_name(one.name, ".")[0] in own_tables:
            continue
        if one.kind == "column order" or (one.kind in _ON_TABLES and split_name(one.name, " on ")[1] in own_tables):
            continue  # a column that is new, or gone, is told of itself
        how = "" if one.source is None else " (differs)" if one.target is not None else " (is missing)"
        told.append(f"{one.kind} {one.name.replace(f'{DATA}.', '')}{how}")
    return tuple(told)
