"""The command `botdata parity`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import AsJson, KeyRoleOk
from app.cli.render import Document, Table, Words, complain, document, say, show
from app.cli.running import load_settings, run_async

if TYPE_CHECKING:
    from app.parity.comparison import Comparison

_WHEN_ANSWERED = "botdata parity, when both stores answer"
_WHEN_EQUAL = (
    "stop the bot; botdata sync --until-clean; botdata verify; USE_REPOSITORY_PATTERN=true; start the bot; "
    "or by stages, without a stop: botdata cutover status"
)


def parity(
    writes: Annotated[bool, typer.Option("--writes", help="The writing methods too, on a made-up company.")] = False,
    samples: Annotated[int, typer.Option(help="Rows of each table to ask about, at most.", min=1, max=10_000)] = 20,
    key_role_ok: KeyRoleOk = False,
    as_json: AsJson = False,
) -> None:
    """Ask both live stores the same and compare the answers. Exit code 0 only when all are equal.

    Example: botdata parity --writes
    """
    from app.migration.sources.rest.key_role import require_service_key
    from app.parity.check import check_parity

    settings = load_settings()
    _, _, key = settings.require_stores()
    require_service_key(key, role_ok=key_role_ok, step="parity")
    comparison = run_async(check_parity(settings, size=samples, writes=writes, notice=complain))
    found = parity_document(comparison)
    show(found, parity_words(found), as_json, beside=True)
    say("parity: every answer was equal")
    say(f"Next: {found['next']}")


def parity_words(found: Document) -> Words:
    """One line a method: calls, equal, different, the medians of both stores, the first difference."""
    headings = ["method", "calls", "equal", "different", "Supabase ms", "PostgreSQL ms", "first difference"]
    rows = [
        [
            *(one[name] for name in ("method", "calls", "equal", "different")),
            *(None if (seconds := one[f"{end}_seconds"]) is None else seconds * 1000 for end in ("source", "target")),
            one["first_difference"] or "",
        ]
        for one in found["methods"]
    ]
    yield Table(headings, rows, numbers=range(1, 6))
    if different := sum(one["different"] for one in found["methods"]):
        which = "" if found["next"] == _WHEN_ANSWERED else ", which names the rows that differ"
        yield f"parity: {different:,} answers differ. Next: {found['next']}{which}"


def parity_document(comparison: Comparison) -> Document:
    """The counts of each method for `--json`; the medians in seconds."""
    methods = [
        {
            "method": method.method,
            "calls": method.calls,
            "equal": method.equal,
            "different": method.different,
            "source_seconds": round(method.p50[0], 6) if method.p50 else None,
            "target_seconds": round(method.p50[1], 6) if method.p50 else None,
            "first_difference": method.first_difference,
        }
        for method in comparison.methods.values()
    ]
    well = comparison.all_equal
    following = "botdata cutover status" if comparison.stage_moves else _WHEN_EQUAL
    if not well:
        following = _WHEN_ANSWERED if comparison.unanswered else "botdata verify"
    return document("parity", ok=well, methods=methods, next=following)
