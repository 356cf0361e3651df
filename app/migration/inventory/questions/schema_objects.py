"""Questions on what schemas hold beside tables: views, sequences, types, functions, and what is said of them all."""

from app.migration.inventory.questions.question import Question

_DUMP = "pg_dump --schema-only has the statement"

SCHEMAS = Question(
    "schema",
    """
SELECT n.oid, nspname AS schema, NULL AS owner, format('%I', nspname) AS name, '' AS definition,
    'of ' || pg_get_userbyid(nspowner) AS detail
FROM pg_namespace n
""",
    "CREATE SCHEMA {name} in the target",
    catalog="pg_namespace",
)
_VIEWS = """
SELECT c.oid, nspname AS schema, pg_get_userbyid(relowner) AS owner, format('%I.%I', nspname, relname) AS name,
    pg_get_viewdef(c.oid) || coalesce(reloptions::text, '') AS definition, '' AS detail
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind = 'KIND'
"""
_MAKE_VIEW = "CREATE {what} in the target with what this gives in the source: SELECT pg_get_viewdef('{name}'::regclass)"

SCHEMA_OBJECTS = (
    SCHEMAS,
    Question("view", _VIEWS.replace("KIND", "v"), _MAKE_VIEW.replace("{what}", "VIEW")),
    Question("materialized view", _VIEWS.replace("KIND", "m"), _MAKE_VIEW.replace("{what}", "MATERIALIZED VIEW")),
    Question(
        "sequence",
        """
SELECT c.oid, nspname AS schema, pg_get_userbyid(relowner) AS owner, format('%I.%I', nspname, relname) AS name,
    concat_ws(' ', format_type(seqtypid, NULL), seqstart, seqincrement, seqmin, seqmax, seqcache, seqcycle, (
        SELECT format('%s.%I', refobjid::regclass, attname) FROM pg_depend d
        JOIN pg_attribute a ON attrelid = refobjid AND attnum = refobjsubid
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'a'
        AND d.refclassid = 'pg_class'::regclass
    )) AS definition, 'how far it is, copy and sync set' AS detail
FROM pg_sequence s JOIN pg_class c ON c.oid = seqrelid JOIN pg_namespace n ON n.oid = relnamespace
""",
        "CREATE SEQUENCE {name} in the target; " + _DUMP,
    ),
    Question(
        "type",
        """
SELECT t.oid, nspname AS schema, pg_get_userbyid(typowner) AS owner, format('%I.%I', nspname, typname) AS name,
    CASE typtype
    WHEN 'e' THEN (SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder) FROM pg_enum
        WHERE enumtypid = t.oid)
    WHEN 'c' THEN (SELECT string_agg(format('%I %s', attname, format_type(atttypid, atttypmod)), ', ' ORDER BY attnum)
        FROM pg_attribute WHERE attrelid = typrelid AND NOT attisdropped AND attnum > 0)
    WHEN 'd' THEN concat_ws(' ', format_type(typbasetype, typtypmod), typnotnull, typdefault,
        nullif(typcollation, 0)::regcollation, (SELECT string_agg(format('%I %s', conname, pg_get_constraintdef(k.oid)),
        ', ' ORDER BY conname) FROM pg_constraint k WHERE contypid = t.oid))
    ELSE (SELECT concat_ws(' ', format_type(rngsubtype, NULL), nullif(rngcollation, 0)::regcollation, opcname,
        rngcanonical, rngsubdiff) FROM pg_range JOIN pg_opclass o ON o.oid = rngsubopc WHERE rngtypid = t.oid)
    END AS definition,
    CASE typtype WHEN 'e' THEN 'an enum' WHEN 'c' THEN 'a composite' WHEN 'd' THEN 'a domain' ELSE 'a range' END
        AS detail
FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace LEFT JOIN pg_class c ON c.oid = typrelid
WHERE typtype IN ('e', 'd', 'r') OR (typtype = 'c' AND c.relkind = 'c')
""",
        "CREATE TYPE (or DOMAIN) {name} in the target; " + _DUMP,
        catalog="pg_type",
    ),
    Question(
        "function",
        """
SELECT p.oid, nspname AS schema, pg_get_userbyid(proowner) AS owner,
    format('%I.%I(%s)', nspname, proname, pg_get_function_identity_arguments(p.oid)) AS name,
    pg_get_functiondef(p.oid) AS definition,
    concat_ws(', ', CASE prokind WHEN 'p' THEN 'a procedure' END, 'in ' || lanname, CASE WHEN prosecdef THEN
        'with the rights of its owner' END, 'calls host ' || (
        SELECT string_agg(DISTINCT m[1], ', ')
        FROM regexp_matches(prosrc, 'https?://(?:[^/@\\s'']*@)?([A-Za-z0-9.-]+)', 'g') m
        WHERE prosrc ~* '\\mhttp_')) AS detail
FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace JOIN pg_language l ON l.oid = prolang
WHERE prokind IN ('f', 'p', 'w')
""",
        "carry out in the target what this gives in the source: SELECT pg_get_functiondef('{name}'::regprocedure)",
        catalog="pg_proc",
    ),
    Question(
        "aggregate",
        """
SELECT p.oid, nspname AS schema, pg_get_userbyid(proowner) AS owner,
    format('%I.%I(%s)', nspname, proname, pg_get_function_identity_arguments(p.oid)) AS name,
    jsonb_build_array(pg_get_function_result(p.oid), to_jsonb(a)
        - '{aggfnoid,aggtranstype,aggmtranstype,aggsortop}'::text[], aggtranstype::regtype)::text AS definition,
    '' AS detail
FROM pg_aggregate a JOIN pg_proc p ON p.oid = aggfnoid JOIN pg_namespace n ON n.oid = pronamespace
""",
        "CREATE AGGREGATE {name} in the target; " + _DUMP,
        catalog="pg_proc",
    ),
    Question(
        "collation",
        """
SELECT c.oid, nspname AS schema, pg_get_userbyid(collowner) AS owner, format('%I.%I', nspname, collname) AS name,
    (to_jsonb(c) - '{oid,collnamespace,collowner,collversion}'::text[])::text AS definition, '' AS detail
FROM pg_collation c JOIN pg_namespace n ON n.oid = collnamespace
""",
        "CREATE COLLATION {name} in the target; " + _DUMP,
        catalog="pg_collation",
    ),
    # What is said of objects and who may use them: one item a schema. All may use a function or a type of which nothing
    # is said.
    Question(
        "comments",
        """
SELECT n.oid, i.schema, min(pg_get_userbyid(nspowner)) AS owner,
    coalesce(quote_ident(i.schema), '(of no schema)') AS name,
    string_agg(i.type || ' ' || i.identity || ': ' || description, ', ' ORDER BY i.type, i.identity) AS definition,
    count(*) || ' comments' AS detail
FROM pg_description d CROSS JOIN LATERAL pg_identify_object(classoid, objoid, objsubid) i
LEFT JOIN pg_namespace n ON nspname = i.schema
WHERE objoid >= 16384 AND i.identity IS NOT NULL AND NOT EXISTS (SELECT FROM pg_depend m
    WHERE m.classid = classoid AND m.objid = objoid AND m.deptype = 'e') AND classoid <> 'pg_extension'::regclass
GROUP BY n.oid, i.schema
""",
        "COMMENT ON in the target, where something reads them (as pg_graphql does); " + _DUMP,
        catalog="pg_namespace",
    ),
    Question(
        "rights",
        """
SELECT n.oid, nspname AS schema, min(pg_get_userbyid(nspowner)) AS owner, format('%I', nspname) AS name,
    string_agg(concat_ws(' ', what, grantee, privilege_type, is_grantable), ', ' ORDER BY what, grantee, privilege_type)
        AS definition,
    concat_ws(', ', 'to ' || string_agg(DISTINCT grantee, ', ') FILTER (WHERE privilege_type <> 'none'),
        max('taken from PUBLIC') FILTER (WHERE privilege_type = 'none')) AS detail
FROM (
    SELECT r.namespace, r.what, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END AS grantee,
        a.privilege_type, a.is_grantable
    FROM (
        SELECT relnamespace AS namespace, 'relation ' || relname AS what, relacl AS acl, relowner AS owner
        FROM pg_class c
        WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
            AND d.deptype = 'e')
        UNION ALL
        SELECT relnamespace, 'column ' || relname || '.' || attname, attacl, relowner
        FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
        UNION ALL
        SELECT pronamespace, 'function ' || p.oid::regprocedure, proacl, proowner FROM pg_proc p
        WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid
            AND d.deptype = 'e')
        UNION ALL
        SELECT typnamespace, 'type ' || typname, typacl, typowner FROM pg_type
        UNION ALL
        SELECT oid, 'schema', nspacl, nspowner FROM pg_namespace
    ) r CROSS JOIN LATERAL aclexplode(r.acl) a WHERE a.grantee <> r.owner
    UNION ALL SELECT o.namespace, o.what, 'PUBLIC', 'none', false FROM (
        SELECT 'pg_proc'::regclass AS class, oid, pronamespace AS namespace, 'function ' || oid::regprocedure AS what,
            proacl AS acl FROM pg_proc
        UNION ALL SELECT 'pg_type'::regclass, oid, typnamespace, 'type ' || typname, typacl FROM pg_type
    ) o WHERE o.acl IS NOT NULL AND NOT EXISTS (SELECT FROM aclexplode(o.acl) WHERE grantee = 0)
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = o.class AND d.objid = o.oid AND d.deptype = 'e')
) g JOIN pg_namespace n ON n.oid = g.namespace
GROUP BY n.oid, nspname
""",
        "GRANT in the target what its roles need, and REVOKE what not all may do; " + _DUMP,
        catalog="pg_namespace",
    ),
    Question(
        "security label",
        """
SELECT objoid AS oid, nspname AS schema, NULL AS owner, objtype || ' ' || objname AS name,
    provider || ' ' || label AS definition, 'of ' || provider AS detail
FROM pg_seclabels l LEFT JOIN pg_namespace n ON n.oid = objnamespace
""",
        "SECURITY LABEL in the target, where it has the provider",
    ),
)
