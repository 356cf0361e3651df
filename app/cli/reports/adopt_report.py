"""What `botdata adopt` says, as text and as a document."""

from typing import Any

from app.adopt.adopt import AdoptReport
from app.adopt.catalog import Difference
from app.cli.output import document, say

_NEXT = "botdata preflight"
_SHOWN = 20


def show_adopt(report: AdoptReport) -> None:
    """Print what was written, what a person should look at, and the proof."""
    say(f"adopted {report.tables:,} tables of {', '.join(report.scope.schemas)} into {report.directory}")
    for change in report.changes[:_SHOWN]:
        say(f"  {_changed(change)}")
    if report.revision:
        say(f"revision: {report.revision}")
    for name in report.beside:
        say(f"changed since the last adopt, so that the new text is beside it: {name}")
    if report.administrator:
        say("to be run by an administrator of the target, once:")
        for statement in report.administrator:
            say(f"  {statement}")
    for note in report.notes:
        say(f"look at: {note}")
    if report.proof is None:
        say(f"NOT PROVED: {report.not_proved}")
        say("Next: botdata adopt with --scratch URL, an empty database on a server that has what is named")
        return
    if not report.proved:
        differing = report.proof.differences
        say(f"the revisions make another schema than the source's; {len(differing):,} differences, by hand:")
        for difference in differing[:_SHOWN]:
            say(f"  {difference}")
        if len(differing) > _SHOWN:
            say(f"  and {len(differing) - _SHOWN:,} more, all of them in --json")
        return
    say(f"proved: {report.proof.items:,} items of the catalog are the same on {report.proof.where}")
    say(f"Next: cd {report.directory}, fill in .env (see .env.example), then: {_NEXT}")


def _changed(change: Difference) -> str:
    how = "added" if change.target is None else "removed" if change.source is None else "changed"
    return f"{how} at the source: {change.kind} {change.name}"


def adopt_document(report: AdoptReport) -> dict[str, Any]:
    """The document of `--json`."""
    proof = report.proof
    return document(
        "adopt",
        ok=report.proved,
        directory=str(report.directory),
        schemas=list(report.scope.schemas),
        tables=report.tables,
        revision=report.revision,
        changes=[_changed(change) for change in report.changes],
        beside=list(report.beside),
        administrator=list(report.administrator),
        notes=list(report.notes),
        proved=report.proved,
        not_proved=report.not_proved,
        items=proof.items if proof else None,
        differences=[
            {"kind": one.kind, "name": one.name, "source": one.source, "target": one.target}
            for one in (proof.differences if proof else ())
        ],
        next=_NEXT if report.proved else None,
    )
