"""Inventories of a Supabase project, taken into one target."""

from dataclasses import dataclass
from typing import Any

from tests.cli.command import Command, Outcome
from tests.cli.test_json import check_document

METADATA = ("--metadata", "tests.cli.supabase_project:Base")
SECRET = "planted-secret"


@dataclass(frozen=True)
class Project:
    """A Supabase project.

    Attributes:
        url: of its database, as the superuser.
        blind: the same as a role that was given nothing.
        role: that role.
    """

    url: str
    blind: str
    role: str


@dataclass
class Inventories:
    """Takes inventories into one target."""

    command: Command
    target: str

    def __call__(self, *words: str, code: int, **settings: str) -> Outcome:
        outcome = self.command("inventory", *words, **{"DATABASE_URL": self.target, **settings})
        assert outcome.code == code, outcome.out + outcome.err
        assert SECRET not in outcome.out + outcome.err
        return outcome

    def items(self, source: str, *words: str, code: int = 1) -> dict[str, dict[str, Any]]:
        """The items by name."""
        outcome = self("--source", source, *METADATA, "--json", *words, code=code)
        document = check_document(outcome.out, "inventory")
        assert document["open"] == sum(one["open"] for one in document["items"])
        return {one["item"]: one for one in document["items"]}

    def fates(self, source: str) -> dict[str, str]:
        return {name: one["fate"] for name, one in self.items(source).items()}
