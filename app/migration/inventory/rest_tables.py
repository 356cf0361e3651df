"""What a source shows over REST: the tables and views of its exposed schemas. All else is not visible there."""

from collections.abc import Iterable

from app.errors import AccessDeniedError, SchemaMismatchError, StoreError
from app.migration.inventory.items import Fate, Item, hash_of
from app.migration.inventory.moved_tables import Moved
from app.migration.inventory.questions.question import Question
from app.migration.sources.rest.rest_source import RestSource
from app.migration.tables.copy_table import label, quoted
from app.next_step import Command, NextStep
from app.stores.supabase.client import total_told
from app.stores.supabase.grammar import quoted_name
from app.stores.supabase.request_parameters import selected

_CONNECTION = NextStep(
    Command("inventory", "--source postgresql://..."), ", as a role that sees all: over REST only tables show"
)


async def items_over_rest(
    source: RestSource, schemas: Iterable[str], moved: Moved, questions: Iterable[Question]
) -> list[Item]:
    """Tables with their rows, and one line for each kind that does not show.

    Raises:
        StoreError: the source cannot be reached, or refuses the key.
    """
    items = []
    for schema in schemas:
        definitions = await _definitions(source, schema)
        if not definitions:
            said = "the server describes no table of this schema"
            items.append(Item("table", f"{schema}.(all)", Fate.NOT_VISIBLE, said, _CONNECTION, hash_of(schema)))
            continue
        for name, definition in sorted(definitions.items()):
            items.append(await _table(source, schema, name, definition, moved))
    kinds = dict.fromkeys(question.kind for question in questions)
    hidden = [*kinds, "object of any other kind", "table of a schema that the API does not expose"]
    items += [
        Item(kind, "(all)", Fate.NOT_VISIBLE, "does not show over REST", _CONNECTION, hash_of(kind)) for kind in hidden
    ]
    return items


async def _definitions(source: RestSource, schema: str) -> dict[str, object]:
    """The server's description of a schema by table; empty where it gives none."""
    try:
        return await source.patiently(lambda: source.rest.described_tables(schema))
    except SchemaMismatchError:  # the schema is not exposed
        return {}


async def _table(source: RestSource, schema: str, name: str, definition: object, moved: Moved) -> Item:
    fate, why, next_step = moved.fate_of(label(schema, name))
    shown, kind = f"{quoted(schema)}.{quoted(name)}", "a table or a view"
    columns = definition.get("properties") if isinstance(definition, dict) else None
    try:
        rows = await _count(source, schema, name, next(iter(columns), None) if columns else None)
    except AccessDeniedError:
        how = NextStep(f"GRANT SELECT ON {shown} to the role of the key")
        return Item("table", shown, Fate.NOT_VISIBLE, "the key may not read its rows", how, hash_of(shown))
    told = "rows not counted" if rows is None else f"{rows:,} rows"
    return Item("table", shown, fate, f"{kind}, {told}; {why}", next_step, hash_of(shown))


async def _count(source: RestSource, schema: str, name: str, column: str | None) -> int | None:
    """How many rows the server counts; None where it cannot, or takes too long."""
    if column is None:
        return None
    builder = selected(source.rest.table(name, schema), quoted_name(column)).limit(1)
    try:
        response = await source.patiently(lambda: source.rest.respond(builder, headers={"Prefer": "count=exact"}))
    except AccessDeniedError:
        raise
    except StoreError:
        return None
    return total_told(response.headers)
