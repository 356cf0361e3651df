"""Takes the inventory: asks the source, compares with the target, and keeps the outcome there."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

import psycopg
from psycopg import AsyncConnection
from sqlalchemy import MetaData

from app.common.schemas import schemas_of
from app.migration.inventory.fates import Fate, Fates, Item, Moved, TargetSeen
from app.migration.inventory.questions.database_objects import DATABASE_OBJECTS, ROLES
from app.migration.inventory.questions.question import Found, ask
from app.migration.inventory.questions.schema_objects import SCHEMA_OBJECTS
from app.migration.inventory.questions.services import SERVICES, items_outside
from app.migration.inventory.questions.table_parts import TABLE_PARTS
from app.migration.inventory.source_tables import items_over_rest, table_items
from app.migration.inventory.supabase_objects import is_supabase_role
from app.migration.inventory.unknown_objects import unknown_items
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.rest.rest_source import RestSource
from app.migration.sources.source import Source
from app.migration.tables.copy_table import label, name_of
from app.migration.target.target_session import explained, open_target
from app.next_step import Command, NextStep
from app.state.runs.checkpoints import tables_copied
from app.state.runs.inventory import Tick, keep_inventory, read_ticks
from app.state.runs.verifications import last_verifications
from app.state.schema_name import SCHEMA
from app.state.tool_schema import ensure_tool_schema, is_current
from app.stores.postgres.session import set_for_all, source_errors

QUESTIONS = (*SCHEMA_OBJECTS, *TABLE_PARTS, *DATABASE_OBJECTS, *SERVICES)
_STEP = "inventory"
_SUPABASE_ROLE = "supabase_admin"
# Each name with its schema in front of it, whatever the path of the role is; and hidden rows are an error, not none.
_SETTINGS = "SET search_path = pg_temp; SET row_security = off"
_TARGET_TABLES = (
    "SELECT nspname, relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('r', 'p')"
)
_AVAILABLE = "SELECT name, coalesce(default_version, '') FROM pg_available_extensions"
_NOT_WRITABLE = {"25006", "42501"}  # SQLSTATEs: a server that takes no writes, or a role that may not


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a source holds.

    Attributes:
        source: its label.
        taken_at: when it was kept in the target, ISO 8601 in UTC; None where it was not.
        none_found: kinds of which there is none, in words.
        notices: what could not be done, and why.
    """

    source: str
    taken_at: str | None
    items: tuple[Item, ...]
    none_found: tuple[str, ...]
    notices: tuple[str, ...]

    @property
    def open_items(self) -> tuple[Item, ...]:
        """Those about which something is left to be done."""
        return tuple(one for one in self.items if one.open)

    @property
    def next_step(self) -> NextStep:
        """What to do next."""
        if any(one.fate is Fate.BY_HAND and one.kind == "table" for one in self.open_items):
            return NextStep("what is said under each table; then: ", Command(_STEP))
        if self.open_items:
            return NextStep("what is said under each item, and for each: ", Command(_STEP, "--done ITEM --note TEXT"))
        return NextStep(Command("verify"))


async def take_inventory(source: Source, target_url: str | None, metadata: MetaData) -> Inventory:
    """List all that the source holds, and keep the list in the target, where there is one.

    Raises:
        MigrationError: one of the ends cannot be reached, or stopped a statement.
    """
    moved = Moved(source.label, frozenset(map(name_of, metadata.tables.values())))
    if target_url is None:
        items, none_found = await _look(source, moved, metadata)
        notices = ("no target is given (DATABASE_URL): nothing can be proved, and nothing ticked off",)
        return Inventory(source.label, None, _in_order(items, {}), none_found, notices)
    async with open_target(target_url, step=_STEP) as connection:
        with explained(_STEP, pending="all of the inventory"):
            notice = await _prepare(connection)
            ticks = {} if notice else await _remembered(connection, moved)
            moved.target = await _look_at_target(connection)
        items, none_found = await _look(source, moved, metadata)
        ordered = _in_order(items, ticks)
        taken_at = None
        if notice is None:
            with explained(_STEP, done="all of the inventory", pending="to keep it in the target"):
                taken_at = await keep_inventory(connection, source.label, [one.kept() for one in ordered])
    return Inventory(source.label, taken_at, ordered, none_found, (notice,) if notice else ())


async def _prepare(connection: AsyncConnection) -> str | None:
    """Make the tool's schema what this version needs; says why the inventory cannot be kept, where it cannot."""
    try:
        await ensure_tool_schema(connection)
        if await is_current(connection):
            return None
    except psycopg.Error as error:
        if error.sqlstate not in _NOT_WRITABLE:
            raise
        why = f"the role may not write to schema {schemas_of(connection).tool} of the target"
    else:
        why = f"schema {schemas_of(connection).tool} of the target was made by a newer botdata"
    return f"{why}: what was moved is not known, nothing can be ticked off, and status knows nothing of this inventory"


async def _remembered(connection: AsyncConnection, moved: Moved) -> dict[str, Tick]:
    moved.copied = await tables_copied(connection)
    moved.verified = await last_verifications(connection)
    return await read_ticks(connection)


async def _look_at_target(connection: AsyncConnection) -> TargetSeen:
    await set_for_all(connection, _SETTINGS)
    tables = await (await connection.execute(_TARGET_TABLES)).fetchall()
    salon = schemas_of(connection).data
    held = {label(*named) for one in tables if (named := _as_in_public(salon, *one)) is not None}
    objects: dict[str, dict[str, Found]] = {}
    for question in QUESTIONS:
        if question.compared:
            answer = await ask(connection, question, SCHEMA)
            if answer.denied is None and answer.failed is None:
                found = filter(None, (_found_as_in_public(salon, one) for one in answer.found))
                objects.setdefault(question.kind, {}).update((one.name, one) for one in found)
    available = await (await connection.execute(_AVAILABLE)).fetchall()
    return TargetSeen(held, objects, dict(available))


async def _look(source: Source, moved: Moved, metadata: MetaData) -> tuple[list[Item], tuple[str, ...]]:
    with explained(_STEP, setting=source.setting, pending="all of the inventory"):
        if isinstance(source, RestSource):
            schemas = dict.fromkeys(["public", *(table.schema or "public" for table in metadata.tables.values())])
            return [*await items_over_rest(source, schemas, moved, QUESTIONS), *items_outside()], ()
        assert isinstance(source, PostgresSource)
        async with await source.connect() as connection:
            with source_errors():
                return await _look_at_source(connection, moved)


async def _look_at_source(connection: AsyncConnection, moved: Moved) -> tuple[list[Item], tuple[str, ...]]:
    await set_for_all(connection, _SETTINGS)
    roles = (await ask(connection, ROLES, SCHEMA)).found
    is_project = any(role.name == _SUPABASE_ROLE for role in roles)
    fates = Fates(moved, is_project)
    items = await table_items(connection, moved, SCHEMA)
    none_found = [] if items else ["tables"]
    for question in QUESTIONS:
        answer = await ask(connection, question, SCHEMA)
        made = fates.items_of(question, answer)
        items += made
        if not made:
            none_found.append(question.plural)
    if is_project:
        count = sum(is_supabase_role(role.name) for role in roles)
        said = f"{count} roles of Supabase's services and its API; policies and rights that name some are listed"
        items.append(Item("role", "(Supabase's own)", Fate.NOT_NEEDED, said))
    unknown = await unknown_items(connection, SCHEMA)
    found = {one.kind for one in items}
    none = tuple(
        dict.fromkeys(one for one in none_found if one not in {q.plural for q in QUESTIONS if q.kind in found})
    )
    return [*items, *unknown, *items_outside()], (*none, *([] if unknown else ["objects of any other kind"]))


def _in_order(items: Iterable[Item], ticks: dict[str, Tick]) -> tuple[Item, ...]:
    """Each with its tick and a name of its own: what is left to be done first, then by fate, kind and name."""
    named: dict[str, Item] = {}
    for one in items:
        number = 1
        label = one.label
        while label in named:  # as two users may each have a job of one name
            number += 1
            label = f"{one.label} ({number})"
        own = one if number == 1 else replace(one, name=f"{one.name} ({number})")
        named[label] = replace(own, tick=ticks.get(label))
    return tuple(sorted(named.values(), key=_place))


_FATES = (Fate.UNKNOWN, Fate.NOT_VISIBLE, Fate.BY_HAND, Fate.MOVED, Fate.RECREATED, Fate.NOT_NEEDED)
_KINDS = {kind: place for place, kind in enumerate(dict.fromkeys(["table", *(one.kind for one in QUESTIONS)]))}


def _place(item: Item) -> tuple[int, int, str, str]:
    return _FATES.index(item.fate), _KINDS.get(item.kind, len(_KINDS)), item.kind, item.name


# A salon's tables are in `public` at the source, and in its schema here. What the target has in its own `public` is
# another salon's, and proves nothing of this one.
_SOURCE = "public"


def _as_in_public(salon: str, schema: str, name: str) -> tuple[str, str] | None:
    """A table of the target as the source would have it; None: it is another salon's."""
    if salon == _SOURCE:
        return schema, name
    return None if schema == _SOURCE else (_SOURCE if schema == salon else schema, name)


def _found_as_in_public(salon: str, found: Found) -> Found | None:
    """An object of the target likewise."""
    if salon == _SOURCE:
        return found
    if found.schema == _SOURCE:
        return None
    # A function in a salon's schema has a path of its own, since no caller's leads there.
    definition = found.definition.replace(f"\n SET search_path TO '{salon}', 'pg_temp'", "")
    place = re.compile(rf"(?<![\w.$]){salon}(?=\.)")
    return replace(
        found,
        schema=_SOURCE if found.schema == salon else found.schema,
        name=_SOURCE if found.name == salon else place.sub(_SOURCE, found.name),
        definition=place.sub(_SOURCE, definition),
    )
