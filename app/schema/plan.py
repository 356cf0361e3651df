"""Where a target's schema stands against the revisions, and what replacing it would drop and keep; only looks."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from psycopg import AsyncConnection, sql

from app.errors import INSTALL_NEWER
from app.migration.preflight.findings import SchemaDifference, finding
from app.migration.preflight.schemas.catalog import CatalogTable, read_tables
from app.migration.preflight.schemas.target_schema import (
    Examine,
    TargetState,
    ahead,
    as_findings,
    compare,
    not_there,
    revision_of,
)
from app.models import Base
from app.next_step import Command, NextStep
from app.schema import phase08
from app.schema.revision_files import known_revisions
from app.state.fetching import fetch_column, fetch_rows, fetch_value


@dataclass(frozen=True, slots=True)
class PlannedTable:
    """A table with its exact number of rows; of a partitioned one, those of all partitions.

    Attributes:
        partition_of: the table that it is a partition of.
    """

    name: str
    rows: int
    partitioned: bool = False
    partition_of: str | None = None


@dataclass(frozen=True, slots=True)
class ReplacePlan:
    """What would be done, by name.

    Attributes:
        schema: what the present schema is, in words; None where there is nothing to replace.
        revision: the revision the database says it is at.
        tables: to be dropped, with their rows; partitions after their parents.
        sequences, functions, triggers: to be dropped with them; functions with the types of their arguments.
        kept: the WhatsApp session tables.
        others: tables named with --keep.
        indexes: to be made for the session tables.
        unknown: tables that nobody named.
        dependents: objects that stand on what would be dropped, as PostgreSQL describes them.
        not_owned: tables that the role may not drop.
    """

    database: str
    schema: str | None
    revision: str | None
    tables: tuple[PlannedTable, ...] = ()
    sequences: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    kept: tuple[PlannedTable, ...] = ()
    others: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    dependents: tuple[str, ...] = ()
    not_owned: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[tuple[str, ...], ...]:
        """All that would be dropped, for comparing two looks."""
        return tuple(table.name for table in self.tables), self.sequences, self.functions, self.triggers

    @property
    def leaves(self) -> tuple[PlannedTable, ...]:
        """The tables that hold rows themselves."""
        return tuple(table for table in self.tables if not table.partitioned)


_PARTITIONS = """
WITH RECURSIVE tree (oid, parent) AS (
    SELECT c.oid, NULL::oid FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'p' AND c.relname = ANY (%s)
    UNION ALL SELECT inhrelid, inhparent FROM pg_inherits JOIN tree ON inhparent = tree.oid
)
SELECT c.relname, p.relname FROM tree JOIN pg_class c ON c.oid = tree.oid JOIN pg_class p ON p.oid = tree.parent
WHERE c.relnamespace = 'public'::regnamespace ORDER BY c.relname
"""
_FUNCTIONS = """
SELECT oid, proname, oidvectortypes(proargtypes) FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND NOT EXISTS (SELECT FROM pg_depend e
    WHERE e.classid = 'pg_proc'::regclass AND e.objid = pg_proc.oid AND e.deptype = 'e') ORDER BY proname, oid
"""
# Sequences that defaults of the tables use without being owned by a column: PostgreSQL would leave them behind.
_SEQUENCES = """
SELECT DISTINCT s.relname FROM pg_attrdef a
JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = a.oid AND d.refclassid = 'pg_class'::regclass
JOIN pg_class s ON s.oid = d.refobjid AND s.relkind = 'S' AND s.relnamespace = 'public'::regnamespace
WHERE a.adrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname = ANY (%s))
AND NOT EXISTS (SELECT FROM pg_depend o WHERE o.classid = 'pg_class'::regclass AND o.objid = s.oid
    AND o.deptype IN ('a', 'i')) ORDER BY s.relname
"""
# What would have to go too, were it not for this stop: views, foreign keys of other tables, functions on the row types.
_DEPENDENTS = """
WITH dropped AS (
    SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname = ANY (%(relations)s)
), item (classid, objid) AS (
    SELECT 'pg_class'::regclass, oid FROM dropped
    UNION SELECT 'pg_class'::regclass, indexrelid FROM pg_index WHERE indrelid IN (SELECT oid FROM dropped)
    UNION SELECT 'pg_class'::regclass, objid FROM pg_depend WHERE classid = 'pg_class'::regclass
        AND refclassid = 'pg_class'::regclass AND refobjid IN (SELECT oid FROM dropped) AND deptype IN ('a', 'i')
    UNION SELECT 'pg_type'::regclass, oid FROM pg_type WHERE typrelid IN (SELECT oid FROM dropped)
    UNION SELECT 'pg_type'::regclass, typarray FROM pg_type WHERE typrelid IN (SELECT oid FROM dropped)
    UNION SELECT 'pg_proc'::regclass, unnest(%(functions)s::oid[])
)
SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid) FROM pg_depend d
JOIN item ON d.refclassid = item.classid AND d.refobjid = item.objid
WHERE (d.deptype = 'n' OR d.classid = 'pg_publication_rel'::regclass)
AND NOT EXISTS (SELECT FROM item other WHERE other.classid = d.classid AND other.objid = d.objid)
AND coalesce(CASE d.classid
    WHEN 'pg_constraint'::regclass THEN (SELECT conrelid FROM pg_constraint WHERE oid = d.objid)
    WHEN 'pg_rewrite'::regclass THEN (SELECT ev_class FROM pg_rewrite WHERE oid = d.objid)
    WHEN 'pg_attrdef'::regclass THEN (SELECT adrelid FROM pg_attrdef WHERE oid = d.objid)
    WHEN 'pg_trigger'::regclass THEN (SELECT tgrelid FROM pg_trigger WHERE oid = d.objid)
    WHEN 'pg_policy'::regclass THEN (SELECT polrelid FROM pg_policy WHERE oid = d.objid)
    END, 0) NOT IN (SELECT oid FROM dropped)
ORDER BY 1
"""
_NOT_OWNED = """
SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname = ANY (%s)
AND NOT pg_has_role(relowner, 'USAGE') ORDER BY relname
"""


async def read_plan(connection: AsyncConnection, keep: Collection[str] = ()) -> ReplacePlan:
    """Look at schema public.

    Args:
        keep: tables that are to stay although they are not known.

    Raises:
        psycopg.Error: the server refuses.
    """
    catalog = await read_tables(connection)
    database = await fetch_value(connection, "SELECT current_database()")
    revision = await revision_of(connection, catalog)
    present = _names_of("business") & catalog.keys()
    if revision is not None or not present:
        return ReplacePlan(database, None, revision)
    known = (phase08.TABLES | _names_of("business")) & catalog.keys() - set(keep)
    parents: dict[str, str] = dict(await fetch_rows(connection, _PARTITIONS, [list(known)]))
    dropped = [name for name in sorted(known) if name not in parents] + sorted(parents)
    functions = [
        (oid, f"{name}({arguments})")
        for oid, name, arguments in await fetch_rows(connection, _FUNCTIONS)
        if (name, arguments) in phase08.FUNCTIONS
    ]
    sequences = await fetch_column(connection, _SEQUENCES, [dropped])
    given = {"relations": dropped + sequences, "functions": [oid for oid, _ in functions]}
    dependents = await fetch_rows(connection, _DEPENDENTS, given)
    not_owned = await fetch_rows(connection, _NOT_OWNED, [dropped + sequences])
    baileys = sorted(_names_of("baileys") & catalog.keys())
    others = catalog.keys() - set(dropped) - set(baileys)
    return ReplacePlan(
        database=database,
        schema=phase08.NAME if phase08.recognise(catalog) else "a schema that no revision made",
        revision=None,
        tables=tuple([await _planned(connection, catalog[name], parents.get(name)) for name in dropped]),
        sequences=tuple(sequences),
        functions=tuple(name for _, name in functions),
        triggers=tuple(f"{name} of {table}" for table in dropped for name in sorted(catalog[table].triggers)),
        kept=tuple([await _planned(connection, catalog[name], None) for name in baileys]),
        others=tuple(sorted(others & set(keep))),
        indexes=tuple(
            index
            for name in baileys
            for index in sorted(str(each.name) for each in Base.metadata.tables[name].indexes)
            if index not in {each.name for each in catalog[name].indexes if each.valid}
        ),
        unknown=tuple(sorted(others - set(keep) - {"alembic_version"})),
        dependents=tuple(text for (text,) in dependents),
        not_owned=tuple(name for (name,) in not_owned),
    )


async def _planned(connection: AsyncConnection, table: CatalogTable, parent: str | None) -> PlannedTable:
    query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("public", table.name))
    return PlannedTable(table.name, await fetch_value(connection, query), table.kind == "p", parent)


def is_current(plan: ReplacePlan) -> bool:
    """Whether there is nothing to replace because the schema is the newest one."""
    return plan.schema is None and plan.revision == known_revisions()[-1]


REPLACE = Command("schema replace")
_BY_HAND = "put it back as it should be, by hand (what is, what should be: see the table)"


def _names_of(group: str) -> set[str]:
    """Names of the present schema's tables of a group: "business", or "baileys" (those of the WhatsApp session)."""
    return {table.name for table in Base.metadata.tables.values() if table.info["group"] == group}


def examine_against_revisions(*, upgrades: bool) -> Examine:
    """The target of the bot's own tables: it is to be as the newest revision makes it, to the last detail.

    Args:
        upgrades: the step upgrades the schema itself, so that a schema that is not there yet does not stop it.
    """

    async def examine(connection: AsyncConnection, catalog: dict[str, CatalogTable]) -> TargetState:
        revision, known = await revision_of(connection, catalog), known_revisions()
        held = sorted(_names_of("business") & catalog.keys())
        if revision is None and held:
            return _made_by_none(catalog, held)
        if revision not in (None, *known):
            return ahead(revision, known[-1], "this botdata's", INSTALL_NEWER)
        if revision != known[-1]:
            return not_there(revision, known[-1], upgrades=upgrades)
        differences = [_judged(one) for one in compare(Base.metadata.sorted_tables, catalog, strict=True)]
        return TargetState(as_findings(differences, _BY_HAND), differences)

    return examine


def _made_by_none(catalog: dict[str, CatalogTable], held: Sequence[str]) -> TargetState:
    """The state of a target that holds business tables, and no revision."""
    differences = compare(Base.metadata.sorted_tables, catalog, strict=True)
    code, message = "target-incompatible", f"the target holds tables that no revision made: {', '.join(held)}"
    if phase08.recognise(catalog):
        examples = "companies.name where title should be, yclients_company_id for company_id"
        code = "target-phase08"
        message = f"the target holds the tables of {phase08.NAME}, an earlier schema ({examples}, and so on)"
        differences = [_named_as_before(one, catalog) for one in differences]
    return TargetState([finding(code, message, str(REPLACE))], differences, usable=False, next_step=NextStep(REPLACE))


def _judged(one: SchemaDifference) -> SchemaDifference:
    """What a live session table has besides, or lacks around it, was left so when it was adopted."""
    left_so = {"target-index-missing", "target-index-differs", "target-column-extra"}
    is_notice = one.table in _names_of("baileys") and one.code in left_so and one.severity != "error"
    return replace(one, severity="notice") if is_notice else one


def _named_as_before(one: SchemaDifference, catalog: dict[str, CatalogTable]) -> SchemaDifference:
    """The same difference, that of a renamed column with the old name."""
    old = phase08.RENAMED.get((one.table, one.item.removeprefix("column ")))
    if one.found is None and old is not None and old in catalog[one.table].columns:
        return replace(one, found=f"{old} {catalog[one.table].columns[old].type}")
    return one
