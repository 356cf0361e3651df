"""Types that are not PostgreSQL's own: what a catalog tells of them, and their names with and without a schema."""

import re
from dataclasses import dataclass

# Numbers from 16384 on are of what was made after the database (src/include/access/transam.h, FirstNormalObjectId).
USER_TYPES = """
SELECT c.relname, a.attname, (WITH RECURSIVE step (base, typmod) AS (
        SELECT t.typbasetype, t.typtypmod WHERE t.typtype = 'd'
        UNION ALL SELECT b.typbasetype, b.typtypmod FROM step JOIN pg_type b ON b.oid = step.base AND b.typtype = 'd')
    SELECT format_type(step.base, step.typmod) FROM step JOIN pg_type b ON b.oid = step.base AND b.typtype <> 'd'),
    EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_type'::regclass AND e.deptype = 'e'
        AND e.objid = coalesce(element.oid, t.oid)),
    ARRAY(SELECT l.enumlabel::text FROM pg_enum l WHERE l.enumtypid = coalesce(element.oid, t.oid)
        ORDER BY l.enumsortorder)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type element ON element.typarray = t.oid
WHERE n.nspname = %s AND a.attnum > 0 AND NOT a.attisdropped AND t.oid >= 16384
"""
_PART = r'"(?:[^"]|"")+"|[^".]+'
_NAME = re.compile(rf"(?:(?P<schema>{_PART})\.)?(?P<name>{_PART})")


@dataclass(frozen=True, slots=True)
class UserType:
    """The type of a column, or that of the elements of its array.

    Attributes:
        base: of a domain, the type under it and under the domains that it is made of.
        of_extension: an extension made it, so that its schema is wherever the extension is.
        labels: of an enum, in their order.
    """

    base: str | None = None
    of_extension: bool = False
    labels: tuple[str, ...] = ()


def same_name(one: str, other: str, *, any_schema: bool = False) -> bool:
    """Whether two names are of one type: `public.mood` and `mood`; not two that say different schemas.

    Args:
        any_schema: what schema each says is of no matter.
    """
    first, second = _NAME.fullmatch(one), _NAME.fullmatch(other)
    if first is None or second is None or _plain(first["name"]) != _plain(second["name"]):
        return False
    return (
        any_schema or not (first["schema"] and second["schema"]) or _plain(first["schema"]) == _plain(second["schema"])
    )


def _plain(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
