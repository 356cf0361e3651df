"""Fingerprints of the source's tables, which tell that a table itself was changed, or all its rows."""

import json
from collections.abc import Mapping, Sequence

from psycopg import sql

from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.postgres.silent_changes import TYPES
from app.migration.tables.copy_table import CopyTable

# A change of a table itself sends no message, and may change every row. Four parts tell of it. What the columns and the
# types are, and since when each partition is one: what is written to it while it is none is not sent. The versions of
# the catalog's rows of the columns; the files, of a partitioned table after a p; the replica identities. ALTER COLUMN
# with USING that keeps the type changes the second and the third at once, SET DEFAULT the second, TRUNCATE the third.
_FINGERPRINTS = """
WITH types AS (SELECT md5(concat_ws('|', {types})) AS t),
wanted AS (SELECT name, to_regclass(quoted) AS oid
    FROM json_to_recordset({wanted}::json) AS w (name text, quoted text)),
tree AS (SELECT name, oid FROM wanted UNION SELECT name, relid FROM wanted w, pg_partition_tree(w.oid))
SELECT name, concat_ws(' ', md5((SELECT t FROM types) || coalesce(string_agg(a.columns, ';' ORDER BY tree.oid), '')
        || coalesce(string_agg(a.attached, ';' ORDER BY tree.oid), '')),
    md5(coalesce(string_agg(a.versions, ';' ORDER BY tree.oid), '')),
    CASE WHEN bool_or((SELECT relkind = 'p' FROM pg_class c WHERE c.oid = tree.oid)) THEN 'p' ELSE '' END
    || md5(coalesce(string_agg(pg_relation_filenode(tree.oid)::text, ';' ORDER BY tree.oid), '')),
    md5(coalesce(string_agg((SELECT concat_ws(' ', relreplident, (
        SELECT string_agg(concat_ws(' ', indexrelid, indkey, indisprimary), ',' ORDER BY indexrelid) FROM pg_index
        WHERE indrelid = c.oid AND (indisprimary OR indisreplident)))
        FROM pg_class c WHERE c.oid = tree.oid), ';' ORDER BY tree.oid), '')))
FROM tree CROSS JOIN LATERAL (
    SELECT string_agg(concat_ws(' ', attrelid, attnum, attname, atttypid, atttypmod, attgenerated), ','
        ORDER BY attnum) AS columns, string_agg(xmin::text, ',' ORDER BY attnum) AS versions,
        (SELECT string_agg(xmin::text, ',' ORDER BY inhseqno) FROM pg_inherits WHERE inhrelid = tree.oid) AS attached
    FROM pg_attribute WHERE attrelid = tree.oid AND attnum > 0 AND NOT attisdropped) a
GROUP BY name
"""

CHANGED = "- - - -"  # a fingerprint that differs from any


async def fingerprints(source: PostgresSource, tables: Sequence[CopyTable]) -> dict[str, str]:
    """Of each table by its name."""
    wanted = [{"name": table.name, "quoted": table.identifier.as_string(None)} for table in tables]
    query = sql.SQL(_FINGERPRINTS).format(wanted=sql.Literal(json.dumps(wanted)), types=sql.SQL(TYPES))
    return dict(await source.fetch(query))


def changed_tables(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Names of those whose rows may be others than the changes told, or have other columns."""
    return [name for name, text in now.items() if name in before and _has_changed(before[name], text)]


def other_files(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Names of the partitioned tables whose partitions' files are others: a TRUNCATE of one by itself sends nothing."""
    pairs = {name: (before[name].split()[2], text.split()[2]) for name, text in now.items() if name in before}
    return [name for name, (was, files) in pairs.items() if files.startswith("p") and was != files]


def other_identities(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Names of those whose old rows come with other columns than before."""
    return [name for name, text in now.items() if name in before and before[name].split()[3] != text.split()[3]]


def _has_changed(before: str, now: str) -> bool:
    is_same = [one == other for one, other in zip(before.split(), now.split(), strict=True)]
    return not is_same[0] or not (is_same[1] or is_same[2])
