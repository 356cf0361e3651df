"""Reads a database's catalog in the shape of supabase_catalog.json, and compares two such catalogs."""

import json
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

HERE = Path(__file__).parent
NATURAL_KEYS: dict[str, Any] = json.loads((HERE / "natural_keys.json").read_text())

TABLES = """
SELECT relname AS name, relkind = 'p' AS partitioned, relrowsecurity AS row_level_security
FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relname <> 'alembic_version'
"""
COLUMNS = """
SELECT attrelid::regclass::text AS on_table, attname AS name, format_type(atttypid, atttypmod) AS type,
    attnotnull AS not_null, pg_get_expr(adbin, adrelid) AS "default"
FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attnum > 0 AND NOT attisdropped
ORDER BY attrelid, attnum
"""
# From PostgreSQL 18 on, NOT NULL is a constraint too; it is compared with the columns.
CONSTRAINTS = """
SELECT conrelid::regclass::text AS on_table, conname AS name, contype AS kind,
    pg_get_constraintdef(oid) AS definition
FROM pg_constraint WHERE contype <> 'n' ORDER BY conname
"""
INDEXES = """
SELECT indrelid::regclass::text AS on_table, relname AS name, indisunique AS unique,
    pg_get_indexdef(indexrelid) AS definition
FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid ORDER BY relname
"""
TRIGGERS = """
SELECT tgrelid::regclass::text AS on_table, tgname AS name, pg_get_triggerdef(oid) AS definition
FROM pg_trigger WHERE NOT tgisinternal ORDER BY tgname
"""
POLICIES = """
SELECT polrelid::regclass::text AS on_table, polname AS name,
    CASE polcmd WHEN '*' THEN 'ALL' ELSE polcmd::text END AS command,
    pg_get_expr(polqual, polrelid) AS using, pg_get_expr(polwithcheck, polrelid) AS with_check
FROM pg_policy ORDER BY polname
"""
FUNCTIONS = """
SELECT proname AS name, pg_get_function_arguments(pg_proc.oid) AS arguments,
    pg_get_function_result(pg_proc.oid) AS returns, lanname AS language
FROM pg_proc JOIN pg_language ON pg_language.oid = prolang
WHERE pronamespace = 'public'::regnamespace ORDER BY proname
"""
OF_TABLES = {
    "columns": COLUMNS,
    "constraints": CONSTRAINTS,
    "indexes": INDEXES,
    "triggers": TRIGGERS,
    "policies": POLICIES,
}


def read_catalog(url: str, schema: str = "public") -> dict[str, Any]:
    """The catalog of a schema as it would be in `public`, without Alembic's own table."""
    with psycopg.connect(url, row_factory=dict_row) as connection:
        connection.execute(f"SET search_path = {schema}".encode())
        tables = {row.pop("name"): row for row in connection.execute(_of(schema, TABLES))}
        for kind, query in OF_TABLES.items():
            for table in tables.values():
                table[kind] = []
            for row in connection.execute(query):
                on_table = row.pop("on_table")
                if on_table in tables:
                    tables[on_table][kind].append(
                        {name: _named(schema, text) if name == "definition" else text for name, text in row.items()}
                    )
        return {"tables": tables, "functions": connection.execute(_of(schema, FUNCTIONS)).fetchall()}


def _of(schema: str, query: str) -> bytes:
    return query.replace("'public'", f"'{schema}'").encode()


def _named(schema: str, definition: str) -> str:
    return definition.replace(f" ON {schema}.", " ON public.")


def expected_catalog() -> dict[str, Any]:
    """Supabase's catalog, with the natural keys that it lacks."""
    catalog: dict[str, Any] = json.loads((HERE / "supabase_catalog.json").read_text())
    for table, key in NATURAL_KEYS.items():
        columns = ", ".join(key["columns"])
        definition = f"CREATE UNIQUE INDEX {key['name']} ON public.{table} USING btree ({columns})"
        catalog["tables"][table]["constraints"].append(
            {"name": key["name"], "kind": "u", "definition": f"UNIQUE ({columns})"}
        )
        catalog["tables"][table]["indexes"].append({"name": key["name"], "unique": True, "definition": definition})
    return catalog


def differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Every item in which two catalogs differ, one line each; empty when they are equal."""
    wanted, present = dict(_items(expected)), dict(_items(found))
    lines = [f"{path}: missing" for path in wanted.keys() - present.keys()]
    lines += [f"{path}: not expected" for path in present.keys() - wanted.keys()]
    lines += [
        f"{path}: {present[path]!r} instead of {wanted[path]!r}"
        for path in wanted.keys() & present.keys()
        if wanted[path] != present[path]
    ]
    return sorted(lines)


def _items(catalog: dict[str, Any]) -> list[tuple[str, Any]]:
    items: list[tuple[str, Any]] = []
    for function in catalog["functions"]:
        items.append((f"function {function['name']}", {**function}))
    for name, table in catalog["tables"].items():
        items.append((f"table {name}", {key: table[key] for key in ("partitioned", "row_level_security")}))
        items.append((f"order of the columns of {name}", [column["name"] for column in table["columns"]]))
        for kind in OF_TABLES:
            items += [(f"{kind} of {name}: {row['name']}", row) for row in table[kind]]
    return items
