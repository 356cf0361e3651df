"""The objects that no question of the inventory tells of."""

from psycopg import AsyncConnection, sql

from app.migration.inventory.fates import Fate, Item, hash_of
from app.migration.inventory.supabase_objects import is_supabase_owned
from app.next_step import NextStep

# Types, as pg_identify_object calls them, of which a question tells, or that are parts of such an object.
_KNOWN = {
    "aggregate", "cast", "collation", "composite type", "default acl", "default value",
    "domain constraint", "event trigger",
    "extension", "foreign table", "foreign-data wrapper", "function", "index", "large object", "materialized view",
    "policy", "procedure", "publication", "publication namespace", "publication relation", "role", "rule", "schema",
    "sequence", "server", "statistics object", "subscription", "table", "table constraint", "toast table", "trigger",
    "type", "user mapping", "view",
}  # fmt: skip
# Parts of an operator family, which is named itself.
_PARTS = {"function of access method", "operator of access method"}
# Objects from the number 16384 on are not PostgreSQL's own. The role with the number 10 owns what has no owner noted.
_OBJECTS = sql.SQL("""
WITH object (classid, objid) AS (
    SELECT classid, objid FROM pg_depend WHERE objid >= 16384
    UNION SELECT refclassid, refobjid FROM pg_depend WHERE refobjid >= 16384
    UNION SELECT classid, objid FROM pg_shdepend
    WHERE objid >= 16384 AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
    -- These may depend on PostgreSQL's own objects alone, of which nothing is noted.
    UNION SELECT 'pg_am'::regclass, oid FROM pg_am WHERE oid >= 16384
    UNION SELECT 'pg_language'::regclass, oid FROM pg_language WHERE oid >= 16384
)
SELECT i.type, coalesce(i.schema, c.nspname), i.identity, coalesce((
    SELECT pg_get_userbyid(s.refobjid) FROM pg_shdepend s WHERE s.classid = o.classid AND s.objid = o.objid
    AND s.deptype = 'o' AND s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
), pg_get_userbyid(10)), n.typtype
FROM object o CROSS JOIN LATERAL pg_identify_object(o.classid, o.objid, 0) i
LEFT JOIN pg_namespace c ON o.classid = 'pg_namespace'::regclass AND c.oid = o.objid
LEFT JOIN pg_type n ON o.classid = 'pg_type'::regclass AND n.oid = o.objid
WHERE i.identity IS NOT NULL
AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = o.classid AND d.objid = o.objid AND d.deptype IN ('e', 'i', 'P', 'S')
    AND (d.refclassid, d.refobjid) <> (d.classid, d.objid) -- as a partitioned table depends on its columns
)
AND (coalesce(i.schema, c.nspname) IS NULL
    OR (coalesce(i.schema, c.nspname) !~ '^pg_' AND coalesce(i.schema, c.nspname) NOT IN ('information_schema', {own})))
ORDER BY 1, 3
""")
_BASE_TYPE = "b"  # pg_type.typtype of a type that is written in C, which no question tells of


async def unknown_items(connection: AsyncConnection, own_schema: str) -> list[Item]:
    """The objects that no question tells of."""
    rows = await (await connection.execute(_OBJECTS.format(own=sql.Literal(own_schema)))).fetchall()
    return [
        Item(
            kind if kind != "type" else "base type",
            identity,
            Fate.UNKNOWN,
            "the inventory has no question for objects of this kind, and compares none",
            NextStep("make it in the target by hand; pg_dump --schema-only has the statement, where it knows the kind"),
            hash_of(kind, identity),
        )
        for kind, schema, identity, owner, typtype in rows
        if (kind not in _KNOWN | _PARTS or typtype == _BASE_TYPE) and not is_supabase_owned(schema, owner)
    ]
