"""Which tables a target holds verified, as schema botdata remembers, and what is to be run for the others."""

import shlex
from dataclasses import dataclass, field

from app.migration.inventory.items import Fate
from app.migration.inventory.supabase_objects import SCHEMAS
from app.next_step import Command, NextStep
from app.state.runs.verifications import LastVerification

_USERS = ("auth.users", "auth.identities")


@dataclass(slots=True)
class Moved:
    """What is remembered of the tables.

    Attributes:
        source: the label of the source of this inventory.
        tables: those that the target has.
        models: those that a command can move.
        has_target: a target was given; where it was not, nothing is known to be moved.
    """

    source: str
    models: frozenset[str]
    has_target: bool = False
    tables: set[str] = field(default_factory=set)
    copied: set[str] = field(default_factory=set)
    verified: dict[str, LastVerification] = field(default_factory=dict)

    def fate_of(self, table: str) -> tuple[Fate, str, NextStep | None]:
        """The fate of a table's rows, why, and what to run.

        Args:
            table: its label, with the schema unless that is public.
        """
        last = self.verified.get(table)
        only = f"--tables {shlex.quote(table)}"
        if last is not None and not last.differences and table in self.tables and last.source == self.source:
            return Fate.MOVED, f"verified {last.ended_at}: no difference", None
        if table not in self.models:
            return Fate.BY_HAND, "the models have no such table, so no command moves it", _way_to_models(table, only)
        if not self.has_target:
            return Fate.BY_HAND, "no target is given", NextStep("set DATABASE_URL, then: ", Command("copy", only))
        if table not in self.tables:
            return Fate.BY_HAND, "the target has no such table", NextStep(Command("preflight", only))
        if last is not None and last.source == self.source:
            differed = f"{last.differences:,} rows differed when it was verified, {last.ended_at}"
            return Fate.BY_HAND, differed, NextStep(Command("verify", only))
        if last is not None:
            other = f"verified against another source, {last.source}, and not against this one"
            return Fate.BY_HAND, other, NextStep(Command("verify", only))
        if table in self.copied:
            return Fate.BY_HAND, "copied, and not verified", NextStep(Command("verify", only))
        return Fate.BY_HAND, "not copied", NextStep(Command("copy", only), ", then: ", Command("verify", only))


def _way_to_models(table: str, only: str) -> NextStep:
    """How a table without a model gets one; no `adopt` makes those of Supabase's schemas, but for its users'."""
    if table in _USERS:
        return NextStep(Command("adopt", "DIRECTORY --with-auth"), " makes its model; then: ", Command("copy", only))
    if table.partition(".")[0] in SCHEMAS:
        return NextStep("tick it off, where only Supabase's services use it; else pg_dump --table moves it")
    return NextStep(Command("adopt", "DIRECTORY"), " makes models of all tables; then: ", Command("copy", only))
