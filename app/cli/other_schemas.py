"""Which commands work on `public` alone: they are refused where the settings name another schema."""

from contextlib import suppress

from app.errors import MigrationError, SettingsError
from app.next_step import NextStep

# They compare or rewrite what a database holds beside the rows, by the names that it has there.
OF_PUBLIC_ALONE = ("adopt",)


def refuse_other_schema(command: str, what: str = "") -> None:
    """Stop a command that works on `public` alone, or does so `what`, before it reads or writes anything.

    Raises:
        MigrationError: another schema is meant.
    """
    from app.settings import load_settings

    with suppress(SettingsError):  # which the command itself says
        schema = load_settings().schema_of_target
        if schema != "public":
            raise MigrationError(
                f"botdata {command}{what} works on the schema public alone, and DATABASE_SCHEMA is {schema}",
                step=command,
                pending="everything; nothing was read or written",
                next_step=NextStep(f"the same command without DATABASE_SCHEMA, if public is meant and not {schema}"),
            )
