"""Drops a salon: after it has moved and its receipt was brought back, or by its name, said twice."""

from collections.abc import Sequence
from hmac import compare_digest

from psycopg import AsyncConnection

from app.common.schemas import Schemas, schemas_of
from app.errors import INSTALL_NEWER, MigrationError
from app.migration.target.target_session import explained, open_target
from app.next_step import Command, NextStep
from app.relocation.archive import receipt_of
from app.state.cutover.processes import read_processes
from app.state.relocation.contents import dependents, drop_both, relations_in_the_way
from app.state.relocation.mark import archive_kept, tables_not_held
from app.state.streams import read_streams
from app.state.tool_schema import newest_version, version
from app.stores.postgres.database_url import schemas_of_url

STEP = "schema drop"
_NOTHING = "everything; nothing was dropped"


async def drop(url: str, *, receipt: str | None = None, confirmed: str | None = None) -> int:
    """Drop a salon's schema, and the tool's own for it.

    Args:
        receipt: what `schema move-in` said, as proof that the salon lives elsewhere.
        confirmed: the schema's name once more, in place of that.

    Raises:
        MigrationError: there is none, neither of both is right, or something still goes by it; nothing was dropped.
    """
    schema = schemas_of_url(url).data
    if schema == "public":
        raise MigrationError(
            "public is no salon's alone, and is not dropped",
            step=STEP,
            pending=_NOTHING,
            next_step=NextStep(Command("uninstall"), ", and drop the tables by hand"),
        )
    async with open_target(url, step=STEP, exclusive=True) as connection:
        with explained(STEP, pending=_NOTHING):
            relations = await relations_in_the_way(connection)
            if not _of_salon(relations, schemas_of(connection)):
                raise MigrationError(
                    f"there is no schema {schema} with a salon in it",
                    step=STEP,
                    pending=_NOTHING,
                    next_step=NextStep("correct the name, or DATABASE_URL, then: ", Command(STEP, "NAME")),
                )
            if receipt is not None or confirmed != schema:
                await _refuse_unproved(connection, schema, receipt)
            else:
                await _refuse_living(connection, schema)
            async with connection.transaction():
                if standing := await dependents(connection):
                    raise MigrationError(
                        f"other objects stand on it: {'; '.join(standing)}",
                        step=STEP,
                        pending=_NOTHING,
                        next_step=NextStep("drop those, then: ", Command(STEP, schema)),
                    )
                await drop_both(connection)
    return len(relations)


def _of_salon(relations: Sequence[str], schemas: Schemas) -> bool:
    revisions, tool = f"{schemas.data}.alembic_version", f"{schemas.tool}."
    return any(relation == revisions or relation.startswith(tool) for relation in relations)


async def _refuse_unproved(connection: AsyncConnection, schema: str, receipt: str | None) -> None:
    checksum = await archive_kept(connection)
    if receipt is not None and checksum is not None and compare_digest(receipt.encode(), receipt_of(checksum).encode()):
        if left := await tables_not_held(connection):
            raise MigrationError(
                f"these tables stayed behind as {schema} moved out, and would be lost: {', '.join(left)}",
                step=STEP,
                pending=_NOTHING,
                next_step=NextStep(
                    "move them to another schema, or drop them; then: ", Command(STEP, f"{schema} --moved-in {receipt}")
                ),
            )
        return
    if checksum is None:
        why = f"{schema} has not moved out"
    else:
        why = "the receipt is not of this salon's archive" if receipt else "whether it has moved in is not known here"
    remedy: list[str | Command] = [Command("schema move-out", schema)]
    if checksum is not None:
        remedy = ["with what schema move-in said at the new place: ", Command(STEP, f"{schema} --moved-in RECEIPT")]
    raise MigrationError(
        f"{why}, and it would be lost",
        step=STEP,
        pending=_NOTHING,
        next_step=NextStep(*remedy, "; to lose it: ", Command(STEP, f"{schema} --yes-drop {schema}")),
    )


async def _refuse_living(connection: AsyncConnection, schema: str) -> None:
    found = await version(connection)
    if not found:
        return
    if found != newest_version():
        raise MigrationError(
            f"whether a process lives on {schema} cannot be read: the tool's schema is of another version of botdata",
            step=STEP,
            pending=_NOTHING,
            next_step=NextStep(
                INSTALL_NEWER if found > newest_version() else Command("upgrade"),
                "; then: ", Command(STEP, f"{schema} --yes-drop {schema}"),
            ),
        )  # fmt: skip
    alive = [process.name for process in await read_processes(connection) if not process.silent]
    if alive:
        raise MigrationError(
            f"processes of the bot live on {schema}: {', '.join(alive)}",
            step=STEP,
            pending=_NOTHING,
            next_step=NextStep("stop them, then: ", Command(STEP, f"{schema} --yes-drop {schema}")),
        )
    if streams := await read_streams(connection):
        raise MigrationError(
            f"a change stream comes from {streams[0].source}: its slot would hold that source's log for ever",
            step=STEP,
            pending=_NOTHING,
            next_step=NextStep(Command("stream drop"), "; then: ", Command(STEP, f"{schema} --yes-drop {schema}")),
        )
