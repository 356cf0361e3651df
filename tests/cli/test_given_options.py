"""A command that is named next repeats the options that the user gave, as far as it takes them, and none twice."""

import pytest

from app.cli.options import GivenOptions
from app.next_step import Command, NextStep

GIVEN = GivenOptions(
    "sync",
    tables=("--tables clients", "--with-baileys"),
    source=("--source postgresql://reader@source/db", "--metadata shop.models:Base"),
    checks=("--accept target-behind",),
    own=("--reverse", "--until-clean"),
)
TABLES, SOURCE = " ".join(GIVEN.tables), " ".join(GIVEN.source)


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (Command("verify"), f"verify {TABLES} {SOURCE}"),
        (Command("copy", "--overwrite"), f"copy {TABLES} {SOURCE} --accept target-behind --overwrite"),
        (Command("sync"), f"sync {TABLES} {SOURCE} --accept target-behind --reverse --until-clean"),
        (Command("verify", "--tables staff --fix"), f"verify {SOURCE} --tables staff --fix"),
        (
            Command("sync", "--reverse --max-deletes 5"),
            f"sync {TABLES} {SOURCE} --accept target-behind --until-clean --reverse --max-deletes 5",
        ),
        (Command("quarantine list"), "quarantine list --tables clients --metadata shop.models:Base"),
        (Command("cutover status"), "cutover status"),
        (Command("upgrade"), "upgrade"),
    ],
)
def test_a_command_gets_the_options_that_it_takes(command: Command, text: str) -> None:
    assert GIVEN.command_text(command.name, command.options) == f"botdata {text}"


def test_a_part_of_a_command_is_gone_on_with_by_the_whole() -> None:
    given = GivenOptions("migrate", tables=("--tables clients",), own=("--jobs 2",))
    step = NextStep("mend that, then: ", Command("copy"), "; or ", Command("verify"))
    assert given.text(step, step="copy") == (
        "mend that, then: botdata migrate --tables clients --jobs 2; or botdata verify --tables clients"
    )
    assert str(step) == "mend that, then: botdata copy; or botdata verify"
