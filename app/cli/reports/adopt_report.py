"""What `botdata adopt` says, as text and as a document."""

from app.adopt.adopt import AdoptReport
from app.adopt.catalog import Difference
from app.cli.render import SHOWN, Document, Words, document, first

_NEXT = "botdata preflight"


def adopt_words(report: AdoptReport, found: Document) -> Words:
    """What was written, what a person should look at, and the proof."""
    yield f"adopted {report.tables:,} tables of {', '.join(report.scope.schemas)} into {report.directory}"
    yield from (f"  {change}" for change in found["changes"][:SHOWN])
    if report.revision:
        yield f"revision: {report.revision}"
    for name in report.beside:
        yield f"changed since the last adopt, so that the new text is beside it: {name}"
    if report.administrator:
        yield "to be run by an administrator of the target, once:"
        yield from (f"  {statement}" for statement in report.administrator)
    for note in report.notes:
        yield f"look at: {note}"
    if report.proof is None:
        yield f"NOT PROVED: {report.not_proved}"
        yield "Next: botdata adopt with --scratch URL, an empty database on a server that has what is named"
    elif not report.proved:
        differing = report.proof.differences
        yield f"the revisions make another schema than the source's; {len(differing):,} differences, by hand:"
        yield from first([f"  {one}" for one in differing], "  and {:,} more, all of them in --json")
    else:
        yield f"proved: {report.proof.items:,} items of the catalog are the same on {report.proof.where}"
        yield f"Next: cd {report.directory}, fill in .env (see .env.example), then: {_NEXT}"


def _changed(change: Difference) -> str:
    how = "added" if change.target is None else "removed" if change.source is None else "changed"
    return f"{how} at the source: {change.kind} {change.name}"


def adopt_document(report: AdoptReport) -> Document:
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
