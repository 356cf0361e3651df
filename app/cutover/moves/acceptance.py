"""Known differences: the owner takes a field's differences out of the gate's way, up to a day, or back into it."""

from datetime import date

from psycopg import AsyncConnection

from app.cutover.moves.stage_row import UNCHANGED, changing, open_cutover
from app.errors import MigrationError
from app.next_step import Command, NextStep
from app.privacy import mask_free_text
from app.settings import Settings
from app.state.cutover import accepted_differences as state
from app.state.cutover.accepted_differences import AcceptedDifference
from app.state.cutover.moves import record

_STEP = "cutover accept"
# Neither tells which store it is, nor of which row: what is lost later would be accepted, too.
_WHOLE = {"(row)": "a row that one store lacks", "(answer)": "an answer that one store refuses"}


async def accept(settings: Settings, method: str, field: str, *, reason: str, until: date) -> AcceptedDifference:
    """Let no gate count the differences of a field of a method's answers, as they were seen so far.

    Args:
        reason: kept with phone numbers, keys and passwords masked.
        until: the last day of that, in UTC.

    Raises:
        MigrationError: no such difference was confirmed, it is not one of a field, or the target cannot be used.
    """
    if field in _WHOLE:
        raise MigrationError(
            f"{_WHOLE[field]} cannot be accepted, since all that come later would be accepted with it",
            step=_STEP,
            pending=UNCHANGED,
            next_step=NextStep(Command("verify"), ", which tells the rows; what is to stay so: advance with --force"),
        )
    reason = mask_free_text(reason, settings.secrets())
    async with changing(settings, _STEP) as connection:
        accepted = await state.accept(connection, method, field, reason=reason, until=until)
        if accepted is None:
            raise await _unknown(connection, method, field)
        said = f"{', '.join(accepted.places)}, until {until}"
        await record(connection, "accept", subject=accepted.subject, reason=reason, said=said)
        return accepted


async def withdraw(settings: Settings, method: str, field: str) -> None:
    """Let the gates count a field's differences again.

    Raises:
        MigrationError: it is not accepted, or the target cannot be used.
    """
    async with changing(settings, _STEP) as connection:
        if not await state.withdraw(connection, method, field):
            known = ", ".join(one.subject for one in await state.read_accepted(connection)) or "none"
            raise MigrationError(
                f"{field} of {method} is not accepted; those that are: {known}",
                step=_STEP,
                pending=UNCHANGED,
                next_step=NextStep(Command(_STEP, "--list")),
            )
        await record(connection, "withdraw", subject=f"{method} {field}")


async def accepted_differences(settings: Settings) -> tuple[AcceptedDifference, ...]:
    """What is accepted, and what was until a day that is over.

    Raises:
        MigrationError: the target cannot be used.
    """
    async with open_cutover(settings.require_database_url(), _STEP) as connection:
        return await state.read_accepted(connection)


async def _unknown(connection: AsyncConnection, method: str, field: str) -> MigrationError:
    methods = await state.seen_fields(connection)
    if method in methods:
        fields = ", ".join(await state.seen_fields(connection, method))
        what = f"no difference of {field} was confirmed in the answers of {method}; the fields that differ: {fields}"
    else:
        known = ", ".join(methods) or "there is none"
        what = f"no difference was confirmed in the answers of {method}; the methods that have one: {known}"
    return MigrationError(what, step=_STEP, pending=UNCHANGED, next_step=NextStep(Command("cutover report")))
