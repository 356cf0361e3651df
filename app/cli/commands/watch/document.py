"""What `botdata watch` knows as a document: for its page and for `--json`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from app.cli.commands.cutover.report import report_document
from app.cli.commands.cutover.status import status_document
from app.cli.commands.runs import runs_document
from app.cli.render import Document, document, rounded
from app.cli.reports.cutover_words import moment
from app.privacy import mask_free_text

if TYPE_CHECKING:
    from app.settings import Settings
    from app.watch.facts import Facts


def watch_document(facts: Facts) -> Document:
    """All of it; the parts are the documents of the commands that tell the same."""
    from app.cutover.moves.comparison_report import ComparisonReport
    from app.cutover.stages import Store
    from app.watch.compared import HOURS

    compared = facts.compared
    return document(
        "watch",
        ok=facts.ok,
        seen_at=moment(facts.seen_at),
        trouble=facts.trouble,
        gate_asked_at=moment(facts.gate_asked_at),
        status=runs_document(facts.status) if facts.status else None,
        synced=[{"table": table, "lag": round(seconds, 1)} for table, seconds in sorted(facts.synced.items())],
        syncing=[
            {
                "table": one.table,
                "rows": one.rows,
                "left": one.left,
                "rows_per_second": rounded(one.rows_per_second, 1),
            }
            for one in facts.syncing
        ],
        cutover=status_document(facts.cutover) if facts.cutover else None,
        comparisons=report_document(ComparisonReport(HOURS, compared.methods, [], facts.cutover.accepted))
        if facts.cutover
        else None,
        minutes=[
            {
                "minute": moment(one.minute),
                **{f"{store}_p50": one.p50[store] for store in Store},
                **{f"{store}_p99": one.p99[store] for store in Store},
            }
            for one in compared.latencies
        ],
    )


def masker(settings: Settings) -> Callable[[Any], Any]:
    """Masks phones in every text of a document, and the secrets of these settings in every sentence of it."""

    secrets = settings.secrets()

    def masked(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: masked(below) for name, below in value.items()}
        if isinstance(value, list):
            return [masked(below) for below in value]
        # One word is a name or a stage, which may be the password of a server that is only tried out.
        return mask_free_text(value, secrets if " " in value else ()) if isinstance(value, str) else value

    return masked
