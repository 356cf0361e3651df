"""What the bot's processes kept of their comparisons, as the command `cutover report` reads it."""

from dataclasses import dataclass

from app.cutover.moves.stage_row import open_cutover
from app.settings import Settings
from app.state.cutover.accepted_differences import AcceptedDifference, read_accepted
from app.state.cutover.comparisons import DifferenceReport, MethodReport, read_differences, read_methods

_STEP = "cutover report"


@dataclass(frozen=True, slots=True)
class ComparisonReport:
    """What came of them in the last `hours`; methods by stage and name, differences with the most frequent first.

    Attributes:
        accepted: what the owner accepts, or did until a day that is over.
    """

    hours: float
    methods: list[MethodReport]
    differences: list[DifferenceReport]
    accepted: tuple[AcceptedDifference, ...]


async def comparison_report(settings: Settings, *, hours: float, most: int) -> ComparisonReport:
    """Read what was kept.

    Args:
        hours: how far back.
        most: differences at most.

    Raises:
        MigrationError: the target cannot be reached, or has no such tables.
    """
    async with open_cutover(settings.require_database_url(), _STEP, pending="it changes nothing") as connection:
        methods = await read_methods(connection, hours * 3600)
        differences = await read_differences(connection, hours * 3600, most)
        accepted = await read_accepted(connection)
    return ComparisonReport(hours, methods, differences, accepted)
