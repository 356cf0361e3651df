"""What a target holds, named as the source names it: a salon's tables are in `public` there, and in its schema here.

What the target has in its own `public` belongs to another salon, and proves nothing of this one.
"""

import re
from dataclasses import replace

from app.migration.inventory.questions.question import Found

_SOURCE = "public"


def as_in_public(salon: str, schema: str, name: str) -> tuple[str, str] | None:
    """A table of the target as the source would have it; None: it is another salon's."""
    if salon == _SOURCE:
        return schema, name
    return None if schema == _SOURCE else (_SOURCE if schema == salon else schema, name)


def found_as_in_public(salon: str, found: Found) -> Found | None:
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
