"""The options that commands share, and what they say."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from app.migration.sources.pace import MaxRate as Rate


class By(StrEnum):
    """How changes are found."""

    XMIN = "xmin"
    STREAM = "stream"


Tables = Annotated[str | None, typer.Option("--tables", help="Only these tables, separated by commas.")]
WithBaileys = Annotated[bool, typer.Option("--with-baileys", help="The WhatsApp session tables too.")]
KeyRoleOk = Annotated[bool, typer.Option("--key-role-ok", help="The key's own role is known to see every row.")]
ShowValues = Annotated[bool, typer.Option("--show-values", help="Print the values that differ, and keys unmasked.")]
MaxRate = Annotated[
    str | None,
    typer.Option(
        "--max-rate",
        help="Read no more of the source in a second than so many rows (2000), or megabytes (5MB).",
        metavar="ROWS|MB",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, and nothing else there.")]
SourceUrl = Annotated[
    str | None,
    typer.Option(
        "--source",
        help="Where the rows come from: supabase (the REST API, by SUPABASE_URL and SUPABASE_KEY), or postgresql://...",
        metavar="supabase|URL",
    ),
]
SourceSchema = Annotated[
    str | None,
    typer.Option(
        "--source-schema",
        help="The schema of --source's database that holds the tables; public unless given.",
        metavar="NAME",
    ),
]
Metadata = Annotated[
    str | None,
    typer.Option("--metadata", help="Another project's tables in place of the bot's.", metavar="PACKAGE.MODULE:BASE"),
]


def names_in(given: str) -> list[str]:
    """The names of an option that takes several, separated by commas."""
    return [name.strip() for name in given.split(",") if name.strip()]


def require_yes(yes: bool, as_json: bool) -> None:
    """Refuse `--json` without `--yes`, where a person would be asked."""
    if as_json and not yes:
        raise typer.BadParameter("with --json nothing is asked, so --yes is needed too", param_hint="--json")


def rate_of(max_rate: str | None) -> Rate | None:
    """What `--max-rate` says."""
    from app.migration.sources.pace import MaxRate as Rate

    try:
        return Rate.parse(max_rate) if max_rate is not None else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--max-rate") from None
