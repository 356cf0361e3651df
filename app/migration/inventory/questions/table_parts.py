"""Questions on what tables are made of, and on what hangs on them: also on Supabase's own, where the user put it."""

from app.migration.inventory.questions.question import Question

_DUMP = "pg_dump --schema-only --table='{name}' shows it"

# A function that calls pg_net, or Supabase's own for webhooks.
_CALLS_OUT = """(p.prosrc ~* '\\mnet\\.http_' OR (p.proname = 'http_request' AND pn.nspname = 'supabase_functions'))"""
# The hosts of the addresses in a text: an address itself may hold a secret.
_HOSTS = """(
    SELECT string_agg(DISTINCT m[1], ', ') FROM regexp_matches(
        coalesce(p.prosrc, '') || ' ' || {more}, 'https?://(?:[^/@\\s'']*@)?([A-Za-z0-9.-]+)', 'g'
    ) m
)"""
_TRIGGERS = """
SELECT c.oid, n.nspname AS schema,
    CASE WHEN pn.oid = n.oid AND NOT {out} THEN pg_get_userbyid(p.proowner) END AS owner,
    format('%I.%I.%I', n.nspname, c.relname, tgname) AS name,
    pg_get_triggerdef(t.oid) || ' ' || tgenabled::text AS definition,
    {detail} AS detail
FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_proc p ON p.oid = tgfoid JOIN pg_namespace pn ON pn.oid = p.pronamespace
WHERE NOT tgisinternal AND {which}
AND tgenabled IS DISTINCT FROM (SELECT up.tgenabled FROM pg_trigger up WHERE up.oid = t.tgparentid)
"""


def _triggers(which: str, detail: str) -> str:
    return _TRIGGERS.replace("{which}", which).replace("{detail}", detail).replace("{out}", _CALLS_OUT)


TABLE_PARTS = (
    Question(
        "columns",
        """
SELECT c.oid, nspname AS schema, pg_get_userbyid(relowner) AS owner, format('%I.%I', nspname, relname) AS name,
    concat_ws(' ', relpersistence, reloptions::text, pg_get_partkeydef(c.oid), (
        SELECT string_agg(concat_ws(' ', p.oid::regclass, pg_get_expr(p.relpartbound, p.oid), p.relpersistence,
            p.reloptions::text, (
            SELECT string_agg(concat_ws(' ', attname, attnotnull, pg_get_expr(adbin, adrelid)), ', ' ORDER BY attname)
            FROM pg_attribute LEFT JOIN pg_attrdef ON (adrelid, adnum) = (attrelid, attnum)
            WHERE attrelid = p.oid AND attnum > 0 AND NOT attisdropped)), ', ' ORDER BY p.oid::regclass::text)
        FROM pg_partition_tree(c.oid) t JOIN pg_class p ON p.oid = t.relid WHERE p.relispartition
    ), (
        SELECT string_agg(i.inhparent::regclass::text, ', ' ORDER BY inhseqno) FROM pg_inherits i WHERE inhrelid = c.oid
    )) || (
        SELECT string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod),
            CASE WHEN attcollation <> t.typcollation THEN attcollation::regcollation::text END,
            CASE WHEN attnotnull THEN 'NOT NULL' END, attidentity::text, attgenerated::text,
            pg_get_expr(adbin, adrelid)), ', ' ORDER BY attname)
        FROM pg_attribute a JOIN pg_type t ON t.oid = atttypid
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attrelid = c.oid AND attnum > 0 AND NOT attisdropped
    ) AS definition,
    '' AS detail
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('r', 'p', 'f') AND NOT relispartition
""",
        "make the table in the target, with these columns, types, defaults, partitions and options; " + _DUMP,
    ),
    Question(
        "constraint",
        """
SELECT c.oid, nspname AS schema, pg_get_userbyid(relowner) AS owner,
    format('%I.%I.%I', nspname, relname, conname) AS name, pg_get_constraintdef(k.oid) AS definition,
    CASE contype WHEN 'p' THEN 'a primary key' WHEN 'u' THEN 'a unique key' WHEN 'c' THEN 'a check'
        WHEN 'x' THEN 'an exclusion' WHEN 'f' THEN 'a foreign key to ' || confrelid::regclass ELSE '' END AS detail
FROM pg_constraint k JOIN pg_class c ON c.oid = conrelid JOIN pg_namespace n ON n.oid = relnamespace
WHERE contype IN ('p', 'u', 'c', 'x', 'f') AND conparentid = 0 AND (conislocal OR NOT relispartition)
""",
        "ALTER TABLE ... ADD CONSTRAINT in the target; pg_dump --schema-only has the statement",
    ),
    Question(
        "index",
        """
SELECT c.oid, nspname AS schema, pg_get_userbyid(c.relowner) AS owner,
    format('%I.%I', nspname, x.relname) AS name,
    pg_get_indexdef(i.indexrelid) || CASE WHEN indisvalid THEN '' ELSE ' INVALID' END AS definition,
    'of ' || c.oid::regclass AS detail
FROM pg_index i JOIN pg_class x ON x.oid = indexrelid JOIN pg_class c ON c.oid = indrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm', 'f') AND NOT x.relispartition
AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))
""",
        "carry out in the target what this gives in the source: SELECT pg_get_indexdef('{name}'::regclass)",
    ),
    Question(
        "trigger",
        _triggers(
            f"NOT {_CALLS_OUT}",
            "'calls ' || p.oid::regproc || CASE WHEN tgenabled = 'D' THEN ', and is disabled' ELSE '' END",
        ),
        "make its function, then carry out in the target what pg_get_triggerdef gives in the source; where the target "
        "has no such table, do its work in the application",
    ),
    Question(
        "webhook",
        _triggers(
            _CALLS_OUT,
            "'a trigger that calls ' || p.oid::regproc || ', host ' || coalesce("
            + _HOSTS.replace("{more}", "encode(tgargs, 'escape')")
            + ", 'not written in it')",
        ),
        "have the application call the address, or make the trigger on a server that has pg_net",
    ),
    Question(
        "policy",
        """
SELECT c.oid, nspname AS schema, NULL AS owner, format('%I.%I.%I', nspname, relname, polname) AS name,
    concat_ws(' ', polcmd, polpermissive, (
        SELECT string_agg(CASE r WHEN 0 THEN 'public' ELSE r::regrole::text END, ', ' ORDER BY r::regrole::text)
        FROM unnest(polroles) r
    ), 'USING', pg_get_expr(polqual, polrelid), 'CHECK', pg_get_expr(polwithcheck, polrelid)) AS definition,
    'to ' || (
        SELECT string_agg(CASE r WHEN 0 THEN 'public' ELSE r::regrole::text END, ', ' ORDER BY r::regrole::text)
        FROM unnest(polroles) r
    ) AS detail
FROM pg_policy p JOIN pg_class c ON c.oid = polrelid JOIN pg_namespace n ON n.oid = relnamespace
""",
        "CREATE POLICY in the target, where the application signs in as these roles; else tick it off. "
        "pg_dump --schema-only has the statement",
    ),
    Question(
        "row security",
        """
SELECT c.oid, nspname AS schema, pg_get_userbyid(relowner) AS owner, format('%I.%I', nspname, relname) AS name,
    relforcerowsecurity::text AS definition, CASE WHEN relforcerowsecurity THEN 'for the owner too' END AS detail
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relrowsecurity
""",
        "ALTER TABLE {name} ENABLE ROW LEVEL SECURITY, where the application signs in as roles that policies are for",
    ),
    Question(
        "rule",
        """
SELECT c.oid, nspname AS schema, NULL AS owner, format('%I.%I.%I', nspname, relname, rulename) AS name,
    pg_get_ruledef(r.oid) || ' ' || ev_enabled::text AS definition, '' AS detail
FROM pg_rewrite r JOIN pg_class c ON c.oid = ev_class JOIN pg_namespace n ON n.oid = relnamespace
WHERE rulename <> '_RETURN'
""",
        "carry out in the target what pg_get_ruledef gives in the source",
    ),
    Question(
        "statistics",
        """
SELECT s.oid, nspname AS schema, pg_get_userbyid(stxowner) AS owner, format('%I.%I', nspname, stxname) AS name,
    pg_get_statisticsobjdef(s.oid) AS definition, 'of ' || stxrelid::regclass AS detail
FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = stxnamespace
""",
        "CREATE STATISTICS in the target; pg_dump --schema-only has the statement",
        catalog="pg_statistic_ext",
    ),
)
