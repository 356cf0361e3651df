"""What the target does by itself when rows are written: its triggers and rules, those of partitions too."""

from dataclasses import dataclass

from psycopg import AsyncConnection

from app.migration.tables.copy_table import CopyTable

# Bits of tgtype: 2 before, 4 insert, 8 delete, 16 update (src/include/catalog/pg_trigger.h). A trigger that a partition
# has from its parent is told once, there. A rule's ev_type: 2 update, 3 insert, 4 delete (src/include/nodes/nodes.h).
_FIND = """
WITH named AS (SELECT to_regclass(name) AS oid FROM unnest(%(tables)s::text[]) name),
own AS (SELECT oid FROM named UNION SELECT relid FROM named, pg_partition_tree(named.oid))
SELECT 'TRIGGER', t.tgname, c.oid::regclass::text, quote_ident(n.nspname) || '.' || quote_ident(c.relname),
    t.tgfoid::regproc::text, t.tgenabled = 'A', array_remove(ARRAY[CASE WHEN t.tgtype & 4 = 4 THEN 'insert' END,
    CASE WHEN t.tgtype & 8 = 8 THEN 'delete' END, CASE WHEN t.tgtype & 16 = 16 THEN 'update' END], NULL)
FROM own JOIN pg_trigger t ON t.tgrelid = own.oid JOIN pg_class c ON c.oid = own.oid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
    AND NOT EXISTS (SELECT FROM pg_trigger up JOIN own ON own.oid = up.tgrelid WHERE up.oid = t.tgparentid)
UNION ALL
SELECT 'RULE', r.rulename, c.oid::regclass::text, quote_ident(n.nspname) || '.' || quote_ident(c.relname),
    '', r.ev_enabled = 'A', ARRAY[CASE r.ev_type WHEN '2' THEN 'update' WHEN '3' THEN 'insert' ELSE 'delete' END]
FROM own JOIN pg_rewrite r ON r.ev_class = own.oid JOIN pg_class c ON c.oid = own.oid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE r.ev_type IN ('2', '3', '4') AND r.ev_enabled IN ('O', 'A') AND c.relkind IN ('r', 'p')
ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Interference:
    """A trigger or a rule.

    Attributes:
        kind: "TRIGGER" or "RULE".
        relation, quoted: the table or partition that has it, for people and for statements.
        function: a trigger's.
        always: enabled in a replica's sessions too.
        events: of insert, update and delete.
    """

    kind: str
    name: str
    relation: str
    quoted: str
    function: str
    always: bool
    events: frozenset[str]

    def __str__(self) -> str:
        """It in words."""
        return f"{self.kind.lower()} {self.name} of {self.relation}"


async def find_interference(connection: AsyncConnection, *qualified: str) -> list[Interference]:
    """The enabled triggers and rules of tables by their quoted names, but for those that PostgreSQL made itself."""
    cursor = await connection.execute(_FIND, {"tables": list(qualified)})
    return [
        Interference(kind, name, relation, quoted, function, always, frozenset(events))
        for kind, name, relation, quoted, function, always, events in await cursor.fetchall()
    ]


async def on_deletions(connection: AsyncConnection, table: CopyTable) -> list[str]:
    """The triggers and rules that a deletion meets, in words."""
    found = await find_interference(connection, table.identifier.as_string(None))
    return [f"{one.kind.lower()} {one.name}" for one in found if "delete" in one.events]
