"""The command `botdata adopt`, and what it says."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import AsJson, GivenOptions, again, names_in
from app.cli.render import SHOWN, Document, Words, document, first, say, show
from app.cli.running import carry_out, load_settings
from app.cli.work import shown_source

if TYPE_CHECKING:
    from app.adopt.adopt import AdoptReport
    from app.adopt.proof import Difference
    from app.adopt.scratch import Embedded


_NOT_PROVED = 3


def adopt(
    directory: Annotated[Path, typer.Argument(help="Where the project is written to; made if missing.")],
    source: Annotated[
        str | None,
        typer.Option(
            "--source", help="The database to adopt; by default MIGRATION_SOURCE.", metavar="URL", show_default=False
        ),
    ] = None,
    schema_file: Annotated[
        Path | None,
        typer.Option(
            "--schema-file",
            help="What supabase db dump or pg_dump --schema-only wrote, in place of --source.",
            show_default=False,
        ),
    ] = None,
    schemas: Annotated[
        str | None,
        typer.Option("--schemas", help="Only these schemas, separated by commas.", show_default="all but Supabase's"),
    ] = None,
    with_auth: Annotated[bool, typer.Option("--with-auth", help="Supabase's users too, with password hashes.")] = False,
    with_auth_secrets: Annotated[
        bool, typer.Option("--with-auth-secrets", help="With --with-auth: the tokens that let somebody in once, too.")
    ] = False,
    with_grants: Annotated[bool, typer.Option("--with-grants", help="Who may do what, too.")] = False,
    scratch: Annotated[
        str | None,
        typer.Option(
            "--scratch", help="An empty database for the proof.", metavar="URL", show_default="one of its own, dropped"
        ),
    ] = None,
    pg_dump: Annotated[
        str | None,
        typer.Option(
            "--pg-dump", help="At least as new as the source's server.", metavar="PATH", show_default="in PATH"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write models and revisions for a project, and prove that they make the same schema. Exit code 3: not proved.

    Example: botdata adopt --source postgresql://... my-project
    """
    from app.adopt.adopt import AdoptOptions
    from app.adopt.adopt import adopt as make
    from app.adopt.scratch import ScratchPlaces, loaded

    settings = load_settings()
    url = source or (settings.migration_source.get_secret_value() if settings.migration_source else None)
    if schema_file is not None and (source is not None or with_auth):
        raise typer.BadParameter("it stands alone: without --source and --with-auth", param_hint="--schema-file")
    if schema_file is None and (url is None or url.strip().lower() == "supabase"):
        raise typer.BadParameter(
            "the schema cannot be read over REST: give postgresql://..., or --schema-file", param_hint="--source"
        )
    if with_auth_secrets and not with_auth:
        raise typer.BadParameter("it needs --with-auth", param_hint="--with-auth-secrets")
    chosen = names_in(schemas) if schemas is not None else None
    if chosen == []:
        raise typer.BadParameter("it names no schema", param_hint="--schemas")
    embedded, own_pg_dump = _embedded()
    target = settings.database_url.get_secret_value() if settings.database_url else None
    options = AdoptOptions(
        schemas=chosen,
        with_auth=with_auth,
        with_auth_secrets=with_auth_secrets,
        grants=with_grants,
        pg_dumps=[pg_dump] if pg_dump else [None, *([own_pg_dump] if own_pg_dump else [])],
        places=ScratchPlaces(scratch, target, embedded),
        told=say,
    )

    async def work() -> AdoptReport:
        if schema_file is None:
            assert url is not None
            return await make(url, directory, options)
        async with loaded(schema_file, options.places) as database:
            return await make(database, directory, options)

    own = again(
        source=None if source is None else shown_source(source),
        schema_file=schema_file,
        schemas=schemas,
        pg_dump=pg_dump,
        with_auth=with_auth,
        with_auth_secrets=with_auth_secrets,
        with_grants=with_grants,
    )
    report = carry_out(work(), GivenOptions("adopt", own=(*own, shlex.quote(str(directory)))))
    found = adopt_document(report)
    show(found, adopt_words(report, found), as_json, beside=True, code=_NOT_PROVED if report.proof is None else 1)


def _embedded() -> tuple[Embedded | None, str | None]:
    """What starts the embedded server, and its pg_dump; None where it is not installed."""
    from app.embedded import EmbeddedPostgres, installed_binary

    @contextmanager
    def start() -> Iterator[str]:
        with EmbeddedPostgres.start(durable=False) as server:
            yield server.create_database("scratch")

    program = installed_binary("pg_dump")
    return (start, program) if program else (None, None)


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
