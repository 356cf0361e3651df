"""Decides the fate of what the source holds: of rows by what was verified, of all else by what the target holds."""

import hashlib
import shlex
from dataclasses import dataclass, field, replace
from enum import StrEnum

from app.migration.inventory.questions.database_objects import EXTENSIONS, ROLES
from app.migration.inventory.questions.question import Answer, Found, Question
from app.migration.inventory.questions.schema_objects import SCHEMAS
from app.migration.inventory.supabase_objects import SCHEMAS as SUPABASE_SCHEMAS
from app.migration.inventory.supabase_objects import (
    acts_for_supabase,
    is_supabase_owned,
    is_supabase_role,
    why_not_needed,
)
from app.next_step import Command, NextStep
from app.state.runs.inventory import KeptItem, Tick
from app.state.runs.verifications import LastVerification


class Fate(StrEnum):
    """What becomes of an item."""

    MOVED = "moved and verified"
    RECREATED = "recreated and proved"
    BY_HAND = "by hand"
    NOT_NEEDED = "not needed"
    NOT_VISIBLE = "not visible from here"
    UNKNOWN = "unknown"


_CLOSED = {Fate.MOVED, Fate.RECREATED, Fate.NOT_NEEDED}


@dataclass(frozen=True, slots=True)
class Item:
    """Something that a source holds, or that could not be looked at.

    Attributes:
        kind: as "trigger".
        name: of this kind, as "auth.users.on_auth_user_created"; "(all)" where no single one could be seen.
        detail: what it is, or why it has its fate. It holds no value, key or secret.
        how: what to do about it, where something is left to be done.
        definition: a hash of what it is; a tick counts for this definition alone.
        tick: what a person said of it, of this or of an earlier definition.
    """

    kind: str
    name: str
    fate: Fate
    detail: str
    how: NextStep | None = None
    definition: str = ""
    tick: Tick | None = None

    @property
    def label(self) -> str:
        """The item's name among all, the same in each inventory."""
        return f"{self.kind} {self.name}"

    @property
    def done(self) -> bool:
        """Whether a person has ticked it off as it is now."""
        return self.tick is not None and self.tick.definition == self.definition

    @property
    def changed(self) -> bool:
        """Whether it has changed since a person ticked it off."""
        return self.tick is not None and not self.done

    @property
    def open(self) -> bool:
        """Whether something is left to be done."""
        return self.fate not in _CLOSED and not self.done

    def kept(self) -> KeptItem:
        """What is kept of it."""
        return KeptItem(self.label, self.fate.value, self.definition, self.fate not in _CLOSED)


def hash_of(*parts: str | None) -> str:
    """The hash of a definition, which may hold what must not be kept."""
    return hashlib.sha256("\0".join(part or "" for part in parts).encode()).hexdigest()


_USERS = ("auth.users", "auth.identities")


@dataclass(frozen=True, slots=True)
class TargetSeen:
    """What the target holds of what is asked of both ends.

    Attributes:
        tables: those that it has.
        objects: by kind and name; a kind that could not be read is not among them.
        available: the versions of the extensions that its server has, by name.
    """

    tables: set[str]
    objects: dict[str, dict[str, Found]]
    available: dict[str, str]


@dataclass(slots=True)
class Moved:
    """What is remembered of the tables.

    Attributes:
        source: the label of the source of this inventory.
        models: those that a command can move.
        target: None where none is given: then nothing is known to be moved.
    """

    source: str
    models: frozenset[str]
    target: TargetSeen | None = None
    copied: set[str] = field(default_factory=set)
    verified: dict[str, LastVerification] = field(default_factory=dict)

    def fate_of(self, table: str) -> tuple[Fate, str, NextStep | None]:
        """The fate of a table's rows, why, and what to run.

        Args:
            table: its label, with the schema unless that is public.
        """
        last, there = self.verified.get(table), self.target is not None and table in self.target.tables
        only = f"--tables {shlex.quote(table)}"
        if last is not None and not last.differences and there and last.source == self.source:
            return Fate.MOVED, f"verified {last.ended_at}: no difference", None
        if table not in self.models:
            return Fate.BY_HAND, "the models have no such table, so no command moves it", _way_to_models(table, only)
        if self.target is None:
            return Fate.BY_HAND, "no target is given", NextStep("set DATABASE_URL, then: ", Command("copy", only))
        if not there:
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
    if table.partition(".")[0] in SUPABASE_SCHEMAS:
        return NextStep("tick it off, where only Supabase's services use it; else pg_dump --table moves it")
    return NextStep(Command("adopt", "DIRECTORY"), " makes models of all tables; then: ", Command("copy", only))


@dataclass(frozen=True, slots=True)
class Fates:
    """Decides, for one source and one target.

    Attributes:
        is_project: the source is a Supabase project, so that schemas and roles of certain names are Supabase's own.
    """

    moved: Moved
    is_project: bool

    def items_of(self, question: Question, answer: Answer) -> list[Item]:
        """The items of one kind, without those that Supabase manages."""
        if answer.denied is not None:
            how = NextStep(answer.denied, ", then: ", Command("inventory"))
            return [_single(question, Fate.NOT_VISIBLE, "the role may not read them", how)]
        if answer.failed is not None:
            how = NextStep("look for them in the source by hand")
            return [_single(question, Fate.UNKNOWN, f"they could not be read: {answer.failed}", how)]
        return [self._item(question, one) for one in answer.found if not self._is_supabase(question, one)]

    def _is_supabase(self, question: Question, one: Found) -> bool:
        if not self.is_project:
            return False
        if question is ROLES:
            return is_supabase_role(one.name)
        if question.kind in {"setting", "default privileges", "event trigger"} and acts_for_supabase(one.owner):
            return True
        return is_supabase_owned(one.schema, one.owner)

    def _item(self, question: Question, one: Found) -> Item:
        item = Item(question.kind, one.name, Fate.BY_HAND, one.detail, None, hash_of(one.name, one.definition))
        if self.is_project and question is SCHEMAS and one.schema in SUPABASE_SCHEMAS:
            return replace(item, fate=Fate.NOT_NEEDED, detail=SUPABASE_SCHEMAS[one.schema])
        if question.moved_as is not None:
            fate, why, _ = self.moved.fate_of(question.moved_as)
            if fate is Fate.MOVED:
                return replace(item, fate=fate, detail=f"{one.detail}; {why}")
        there = self.moved.target.objects.get(question.kind) if self.moved.target else None
        twin = there.get(one.name) if there else None
        if question.compared and twin is not None and twin.definition == one.definition:
            detail = one.detail if question is not EXTENSIONS else f"version {one.detail}, in the target {twin.detail}"
            return replace(item, fate=Fate.RECREATED, detail=detail)
        if self.is_project and (reason := why_not_needed(question.kind, one.name, one.detail)):
            return replace(item, fate=Fate.NOT_NEEDED, detail=_joined(one.detail, reason))
        item = replace(item, how=NextStep(question.by_hand.replace("{name}", one.name)))
        if question is EXTENSIONS:
            return self._missing_extension(item)
        if not question.compared or self.moved.target is None:
            return item
        if there is None:
            return replace(item, detail=_joined(one.detail, "whether the target has it could not be read"))
        state = "the target has none of this name" if twin is None else "the target has another of this name"
        return replace(item, detail=_joined(one.detail, state))

    def _missing_extension(self, item: Item) -> Item:
        if self.moved.target is None:
            return replace(item, detail=f"version {item.detail}")
        available = self.moved.target.available.get(item.name)
        if available is not None:
            return replace(item, detail=f"version {item.detail}; the target's server has {available}, not yet made")
        install = NextStep("install it on the target's server, or do without what it is used for")
        return replace(item, detail=f"version {item.detail}; the target's server does NOT have it", how=install)


def _single(question: Question, fate: Fate, detail: str, how: NextStep) -> Item:
    name = f"(all of {', '.join(question.reads)})" if question.reads else "(all)"
    return Item(question.kind, name, fate, detail, how, hash_of(name))


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
