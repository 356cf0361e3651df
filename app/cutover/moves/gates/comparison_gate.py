"""Gate: answers were compared, often enough, and were the same."""

from psycopg import AsyncConnection

from app.cutover.moves.gates.objection import Objection
from app.cutover.moves.gates.thresholds import Thresholds
from app.cutover.stages import Stage
from app.state.cutover.accepted_differences import read_ended
from app.state.cutover.comparisons import compared_methods

_REPORT = "botdata cutover report"


async def comparisons(connection: AsyncConnection, stage: Stage, thresholds: Thresholds) -> list[Objection]:
    """Methods in use at the stage that were compared too seldom, or whose answers differed."""
    counts = await compared_methods(connection, stage, thresholds.hours * 3600)
    within = f"in the last {thresholds.hours:g} h at {stage}"
    if not counts:
        return [
            Objection(
                f"no answer was compared {within}",
                f"let the bot work at {stage} with COMPARE_SAMPLING above 0; to follow it: {_REPORT}",
            )
        ]
    found = []
    for method, compared, different, accepted in counts:
        if different - accepted > thresholds.differences:
            ended = await read_ended(connection, stage, method, thresholds.hours * 3600)
            again = "".join(f"; {one.field} was accepted until {one.until}, and counts again" for one in ended)
            known = f" that are not accepted ({accepted:,} more are)" if accepted else ""
            found.append(
                Objection(
                    f"{method}: {different - accepted:,} confirmed differences{known} {within}{again}",
                    f"{_REPORT}, which shows the fields; when what caused them is mended, wait until they are older; "
                    "or, where a field's are harmless: botdata cutover accept",
                )
            )
        if compared < thresholds.comparisons:
            found.append(
                Objection(
                    f"{method}: {compared:,} comparisons {within}, and {thresholds.comparisons:,} are asked for",
                    f"let the bot work on; to follow it: {_REPORT}",
                )
            )
    return found
