"""What speaks against moving a salon out: state that has a meaning at its present place alone."""

import re
import secrets
from dataclasses import dataclass

from psycopg import AsyncConnection

from app.adopt.proof import Catalog, differences, read_catalog, split_name
from app.common.schemas import DATA, Schemas, address_in
from app.cutover.stages import Stage
from app.errors import MigrationError
from app.migration.target.target_session import explained
from app.next_step import Command, NextStep
from app.relocation.rows import tables_of
from app.schema import revisions
from app.schema.transaction import revisions_transaction
from app.state.cutover import backlog
from app.state.cutover.moves import open_move
from app.state.cutover.processes import Process, read_processes
from app.state.cutover.stage import StageRow
from app.state.rehearsals import not_removed
from app.state.relocation.contents import outbox_to_move
from app.state.relocation.mark import TRIGGER
from app.state.runs.runs import is_unfinished
from app.state.streams import read_streams
from app.stores.postgres.database_url import schemas_of_url


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why it cannot move now, and what to do."""

    why: str
    remedy: NextStep


async def objections(connection: AsyncConnection, row: StageRow) -> list[Obstacle]:
    """All that there are, of a stage's row that was read just now."""
    against: list[Obstacle] = []

    def object_to(why: str, *remedy: str | Command) -> None:
        against.append(Obstacle(why, NextStep(*remedy)))

    if row.managed and row.stage not in {Stage.OFF, Stage.COMPLETE}:
        object_to(
            f"the cutover stands at {row.stage}, where both stores get each write: mirrors would lose their place",
            "on to its end with ", Command("cutover advance"), ", or down to off with ", Command("cutover back"),
        )  # fmt: skip
    if move := await open_move(connection):
        object_to(f"a move is under way: {move.label}", "when it has ended: ", Command("schema move-out"))
    for process in await read_processes(connection):
        _object_to_process(against, process)
    if notes := sum(waiting.count for waiting in await backlog.notes(connection)):
        object_to(f"{notes:,} notes of the journal, whose rows may be in Supabase alone", Command("sync"))
    outbox = await outbox_to_move(connection, managed=row.managed)
    if outbox.unsettled:
        object_to(f"{outbox.unsettled:,} entries of the outbox may be on their way", Command("mirror drain"))
    elif outbox.entries and row.managed and row.stage is Stage.OFF:
        object_to(f"{outbox.entries:,} entries of the outbox have not been sent", Command("mirror drain"))
    for stream in await read_streams(connection):
        object_to(
            f"the change stream from {stream.source} has a slot there that is this place's alone",
            Command("stream drop"), ", and begin it again at the new place",
        )  # fmt: skip
    if await is_unfinished(connection, "copy"):
        object_to("a copy was begun and is not complete", Command("copy"), ", which goes on with it")
    if left := await not_removed(connection):
        object_to(f"{len(left)} rehearsals live, or have left a database", Command("rehearse", "--clean-up"))
    return against


def _object_to_process(against: list[Obstacle], process: Process) -> None:
    ended = NextStep("stop it; if it has ended: ", Command("cutover forget", process.name))
    if process.stage is not Stage.COMPLETE:
        why = f"process {process.name} is at {process.stage} and writes to Supabase: the new place would not know of it"
        against.append(Obstacle(why, ended))
    elif process.pending or process.spooled:
        why = f"process {process.name} has {process.pending:,} mirrors to make and {process.spooled:,} notes in a file"
        against.append(Obstacle(why, NextStep("let it settle, or ", *ended)))


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
