"""Which salons of a database a fleet command means."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

from app.common.schemas import address_in, schema_in, trouble_with_target
from app.errors import MigrationError, SettingsError
from app.migration.target.target_session import explained, open_target
from app.next_step import Command, NextStep
from app.settings import Settings
from app.state.fetching import fetch_value
from app.state.fleet.salons import Salon, filled_schemas, find_salons


@dataclass(frozen=True, slots=True)
class Chosen:
    """The salons that are meant.

    Attributes:
        salons: by their names, those to be created among them.
        new: names of those that are to be created.
        filled: of these, the ones whose schemas are there already and hold something that is no salon.
        began_at: when the database was asked, by its clock.
    """

    salons: tuple[Salon, ...]
    new: frozenset[str]
    filled: frozenset[str]
    began_at: datetime


def database_of(settings: Settings) -> str:
    """The address of the database, whose salons are all meant.

    Raises:
        SettingsError: DATABASE_URL is not set, or the settings name one salon.
    """
    url = settings.require_database_url()
    if settings.schema_of_target != "public":
        raise SettingsError(
            f"botdata fleet works on all salons of DATABASE_URL; the settings name {settings.schema_of_target} alone: "
            "take its name out of them, or give it with --only"
        )
    return url


def address_of(url: str, salon: str) -> str:
    """The address of a salon of the database."""
    return url if salon == "public" and schema_in(url) is None else address_in(url, salon)


def checked_names(names: Sequence[str]) -> list[str]:
    """Names of salons to be created, each once.

    Raises:
        SettingsError: no schema can be named so.
    """
    for name in names:
        if name != "public" and (trouble := trouble_with_target(name)) is not None:
            raise SettingsError(f"no salon can be named {name!r}: it {trouble}")
    return list(dict.fromkeys(names))


async def choose(url: str, only: Sequence[str], create: Sequence[str] = (), *, step: str) -> Chosen:
    """The salons that are there, and those to be created, as far as one of the patterns `only` matches their names.

    Args:
        only: shell patterns; none: all.
        create: names of salons that are to be there.

    Raises:
        MigrationError: the database cannot be read, has no salon, or a pattern matches none.
    """
    async with open_target(url, step=step) as connection:
        with explained(step, pending="everything; nothing was changed"):
            there = {salon.name: salon for salon in await find_salons(connection)}
            new = [name for name in create if name not in there]
            began_at = await fetch_value(connection, "SELECT clock_timestamp()")
            filled = await filled_schemas(connection, [name for name in new if name != "public"]) if new else set()
    known = {**there, **{name: Salon(name) for name in new}}
    idle = [pattern for pattern in only if not any(fnmatchcase(name, pattern) for name in known)]
    if idle or not known:
        what = f"no salon's name matches {', '.join(idle)}" if idle else "the database has no salon"
        raise MigrationError(
            f"{what}; a salon is a schema with the table alembic_version, or with its NAME_botdata beside it",
            step=step,
            pending="everything; nothing was changed",
            next_step=NextStep(Command("fleet status"), ", which lists all")
            if known
            else NextStep(Command("fleet upgrade", "--create NAME"), ", which makes one"),
        )
    chosen = [known[name] for name in sorted(known) if not only or any(fnmatchcase(name, one) for one in only)]
    names = {salon.name for salon in chosen}
    return Chosen(tuple(chosen), frozenset(names.intersection(new)), frozenset(filled & names), began_at)
