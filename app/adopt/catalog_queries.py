"""What a catalog says of each thing in the chosen schemas: one query a kind, each with rows (name, definition, oid).

Parameters: `schemas`, the names of the chosen ones; `tables`, the oids of relations outside them that come along. What
belongs to an extension is the extension's, and is left out, as are the clones that partitions have of their root's
things, but for triggers that are enabled otherwise. Columns that a version of PostgreSQL lacks are asked for through
JSON. The search path has to be empty, so that every name is written with its schema.
"""

_NOT_OF_AN_EXTENSION = """NOT EXISTS (
    SELECT FROM pg_depend e WHERE e.classid = '{catalog}'::regclass AND e.objid = {oid} AND e.deptype = 'e')"""


def _mine(catalog: str, namespace: str, oid: str) -> str:
    """The condition that a thing lies in a chosen schema, and belongs to no extension."""
    return (
        f"{namespace} = ANY (ARRAY(SELECT oid FROM pg_namespace WHERE nspname = ANY (%(schemas)s)))"
        f" AND {_NOT_OF_AN_EXTENSION.format(catalog=catalog, oid=oid)}"
    )


# Alembic's own table is none of the project's.
RELATIONS = f"""
SELECT c.oid, format('%%I.%%I', n.nspname, c.relname) AS label, c.relkind, c.relispartition, n.nspname, c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE ({_mine("pg_class", "c.relnamespace", "c.oid")} OR c.oid = ANY (%(tables)s))
AND c.relname <> 'alembic_version'
"""
_WITH_RELATIONS = f"WITH relation AS ({RELATIONS}) "
_OPTIONS = "array_to_string(ARRAY(SELECT unnest({options}) ORDER BY 1), ', ')"


# kind -> (the catalog that its oids are of, query)
QUERIES = {
    "schema": (
        "pg_namespace",
        """
SELECT format('%%I', nspname), '', oid FROM pg_namespace WHERE nspname = ANY (%(schemas)s) AND nspname <> 'public'
""",
    ),
    # Those of tables and of other types, such as arrays and multiranges, come with these.
    "type": (
        "pg_type",
        f"""
SELECT t.oid::regtype::text, jsonb_build_object(
    'kind', t.typtype, 'labels', (SELECT jsonb_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum
        WHERE enumtypid = t.oid),
    'of', nullif(t.typbasetype, 0)::regtype, 'domain', CASE t.typtype WHEN 'd' THEN format('%%s %%s %%s',
        format_type(t.typbasetype, t.typtypmod), t.typnotnull, t.typcollation::regcollation) END,
    'default', coalesce(pg_get_expr(t.typdefaultbin, 0), t.typdefault),
    'range', (SELECT format('%%s %%s %%s %%s %%s %%s', g.rngsubtype::regtype, g.rngcollation::regcollation, o.opcname,
        g.rngcanonical, g.rngsubdiff, (to_jsonb(g) ->> 'rngmultitypid')::oid::regtype)
        FROM pg_range g JOIN pg_opclass o ON o.oid = g.rngsubopc WHERE g.rngtypid = t.oid),
    'functions', CASE t.typtype WHEN 'b' THEN format('%%s %%s %%s', t.typinput, t.typoutput, t.typlen) END
)::text, t.oid
FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
WHERE {_mine("pg_type", "t.typnamespace", "t.oid")} AND t.typtype <> 'm' AND NOT (t.typelem <> 0 AND t.typlen = -1)
AND (c.oid IS NULL OR c.relkind = 'c')
""",
    ),
    "table": (
        "pg_class",
        (
            _WITH_RELATIONS
            + f"""
SELECT r.label, jsonb_build_object(
    'kind', c.relkind, 'persistence', c.relpersistence, 'row security', c.relrowsecurity,
    'forced', c.relforcerowsecurity, 'replica identity', c.relreplident, 'options',
        {_OPTIONS.format(options="c.reloptions")},
    'access method', CASE WHEN c.relkind IN ('r', 'm') THEN (SELECT amname FROM pg_am WHERE oid = c.relam) END,
    'partitioned', pg_get_partkeydef(c.oid), 'bound', pg_get_expr(c.relpartbound, c.oid),
    'inherits', (SELECT string_agg(inhparent::regclass::text, ', ' ORDER BY inhseqno) FROM pg_inherits
        WHERE inhrelid = c.oid),
    'of type', nullif(c.reloftype, 0)::regtype, 'view', CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END
)::text, c.oid
FROM relation r JOIN pg_class c USING (oid) WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
        ),
    ),
    "column": (
        "pg_class",
        (
            _WITH_RELATIONS
            + f"""
SELECT format('%%s.%%I', r.label, a.attname), jsonb_build_object(
    'type', format_type(a.atttypid, a.atttypmod), 'not null', a.attnotnull, 'default', pg_get_expr(d.adbin, d.adrelid),
    'identity', a.attidentity, 'generated', a.attgenerated,
    'collation', CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END,
    'storage', CASE WHEN a.attstorage <> t.typstorage THEN a.attstorage END,
    'compression', nullif(to_jsonb(a) ->> 'attcompression', ''),
    'statistics', nullif(to_jsonb(a) ->> 'attstattarget', '-1'), 'own', a.attislocal,
    'options', {_OPTIONS.format(options="a.attoptions")}
)::text, c.oid
FROM relation r JOIN pg_class c USING (oid) JOIN pg_attribute a ON a.attrelid = c.oid
    JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND a.attnum > 0 AND NOT a.attisdropped ORDER BY c.oid, a.attnum
"""
        ),
    ),
    "column order": (
        "pg_class",
        (
            _WITH_RELATIONS
            + """
SELECT r.label, string_agg(format('%%I', a.attname), ', ' ORDER BY a.attnum), r.oid
FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid
WHERE r.relkind IN ('r', 'p', 'f', 'c') AND a.attnum > 0 AND NOT a.attisdropped GROUP BY r.label, r.oid
"""
        ),
    ),
    "sequence": (
        "pg_class",
        (
            _WITH_RELATIONS
            + """
SELECT r.label, jsonb_build_object(
    'type', format_type(s.seqtypid, NULL), 'start', s.seqstart, 'increment', s.seqincrement, 'minimum', s.seqmin,
    'maximum', s.seqmax, 'cache', s.seqcache, 'cycle', s.seqcycle, 'of', (
        SELECT format('%%s.%%I', d.refobjid::regclass, a.attname) FROM pg_depend d
        JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
        WHERE d.classid = 'pg_class'::regclass AND d.objid = r.oid AND d.deptype IN ('a', 'i'))
)::text, r.oid
FROM relation r JOIN pg_sequence s ON s.seqrelid = r.oid
"""
        ),
    ),
    # From PostgreSQL 18 on, NOT NULL is a constraint too; it is compared with the columns.
    "constraint": (
        "pg_constraint",
        (
            _WITH_RELATIONS
            + f"""
SELECT format('%%I on %%s', c.conname, coalesce(r.label, c.contypid::regtype::text)), jsonb_build_object(
    'is', pg_get_constraintdef(c.oid), 'kind', c.contype, 'own', c.conislocal, 'valid', c.convalidated)::text, c.oid
FROM pg_constraint c LEFT JOIN relation r ON r.oid = c.conrelid LEFT JOIN pg_type t ON t.oid = c.contypid
WHERE c.contype IN ('p', 'u', 'f', 'c', 'x') AND c.conparentid = 0
AND (r.oid IS NOT NULL OR (t.oid IS NOT NULL AND {_mine("pg_type", "t.typnamespace", "t.oid")}))
"""
        ),
    ),
    "index": (
        "pg_class",
        (
            _WITH_RELATIONS
            + f"""
SELECT format('%%s on %%s', i.indexrelid::regclass, r.label), jsonb_build_object(
    'is', pg_get_indexdef(i.indexrelid), 'clustered', i.indisclustered, 'replica identity', i.indisreplident,
    'valid', i.indisvalid, 'options', {_OPTIONS.format(options="x.reloptions")},
    'statistics', (SELECT string_agg(format('%%s: %%s', a.attnum, to_jsonb(a) ->> 'attstattarget'), ', '
        ORDER BY a.attnum)
        FROM pg_attribute a WHERE a.attrelid = i.indexrelid AND to_jsonb(a) ->> 'attstattarget' <> '-1')
)::text, i.indexrelid
FROM relation r JOIN pg_index i ON i.indrelid = r.oid JOIN pg_class x ON x.oid = i.indexrelid
"""
        ),
    ),
    "trigger": (
        "pg_trigger",
        (
            _WITH_RELATIONS
            + """
SELECT format('%%I on %%s', t.tgname, r.label), format('%%s %%s', t.tgenabled, pg_get_triggerdef(t.oid)), t.oid
FROM relation r JOIN pg_trigger t ON t.tgrelid = r.oid LEFT JOIN pg_trigger u ON u.oid = t.tgparentid
WHERE NOT t.tgisinternal AND t.tgenabled IS DISTINCT FROM u.tgenabled
"""
        ),
    ),
    "rule": (
        "pg_rewrite",
        (
            _WITH_RELATIONS
            + """
SELECT format('%%I on %%s', u.rulename, r.label), format('%%s %%s', u.ev_enabled, pg_get_ruledef(u.oid)), u.oid
FROM relation r JOIN pg_rewrite u ON u.ev_class = r.oid WHERE u.rulename <> '_RETURN'
"""
        ),
    ),
    "policy": (
        "pg_policy",
        (
            _WITH_RELATIONS
            + """
SELECT format('%%I on %%s', p.polname, r.label), jsonb_build_object(
    'for', p.polcmd, 'permissive', p.polpermissive, 'using', pg_get_expr(p.polqual, p.polrelid),
    'check', pg_get_expr(p.polwithcheck, p.polrelid), 'to', ARRAY(
        SELECT CASE role WHEN 0 THEN 'public' ELSE pg_get_userbyid(role) END FROM unnest(p.polroles) role ORDER BY 1)
)::text, p.oid
FROM relation r JOIN pg_policy p ON p.polrelid = r.oid
"""
        ),
    ),
    "statistics": (
        "pg_statistic_ext",
        f"""
SELECT format('%%I.%%I', n.nspname, s.stxname), pg_get_statisticsobjdef(s.oid) || ' '
    || coalesce(nullif(to_jsonb(s) ->> 'stxstattarget', '-1'), ''), s.oid
FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace
WHERE {_mine("pg_statistic_ext", "s.stxnamespace", "s.oid")}
""",
    ),
    "function": (
        "pg_proc",
        f"""
SELECT p.oid::regprocedure::text, CASE WHEN p.prokind = 'a' THEN (
    SELECT jsonb_build_object('returns', pg_get_function_result(p.oid), 'arguments', pg_get_function_arguments(p.oid),
        'how', to_jsonb(a) - '{{aggfnoid,aggtranstype,aggmtranstype,aggsortop}}'::text[], 'state',
            a.aggtranstype::regtype,
        'moving state', nullif(a.aggmtranstype, 0)::regtype, 'sort', nullif(a.aggsortop, 0)::regoperator,
        'parallel', p.proparallel)::text
    FROM pg_aggregate a WHERE a.aggfnoid = p.oid) ELSE pg_get_functiondef(p.oid) END, p.oid
FROM pg_proc p WHERE {_mine("pg_proc", "p.pronamespace", "p.oid")}
AND NOT EXISTS (SELECT FROM pg_depend i WHERE i.classid = 'pg_proc'::regclass AND i.objid = p.oid AND i.deptype = 'i')
""",
    ),
    "operator": (
        "pg_operator",
        f"""
SELECT o.oid::regoperator::text, jsonb_build_object('function', o.oprcode, 'commutator', nullif(o.oprcom,
    0)::regoperator,
    'negator', nullif(o.oprnegate, 0)::regoperator, 'restrict', o.oprrest, 'join', o.oprjoin, 'merges', o.oprcanmerge,
    'hashes', o.oprcanhash)::text, o.oid
FROM pg_operator o WHERE {_mine("pg_operator", "o.oprnamespace", "o.oid")} AND o.oprcode <> 0
""",
    ),
    "operator class": (
        "pg_opclass",
        f"""
SELECT format('%%s.%%I using %%s', o.opcnamespace::regnamespace, o.opcname, m.amname), jsonb_build_object('for',
    o.opcintype::regtype, 'default',
    o.opcdefault,
    'key', nullif(o.opckeytype, 0)::regtype, 'operators', (
        SELECT jsonb_agg(format('%%s %%s', a.amopstrategy, a.amopopr::regoperator) ORDER BY a.amopstrategy,
            a.amopopr::regoperator::text)
        FROM pg_amop a WHERE a.amopfamily = o.opcfamily),
    'functions', (SELECT jsonb_agg(format('%%s %%s', a.amprocnum, a.amproc::regprocedure) ORDER BY a.amprocnum,
        a.amproc::text)
        FROM pg_amproc a WHERE a.amprocfamily = o.opcfamily))::text, o.oid
FROM pg_opclass o JOIN pg_am m ON m.oid = o.opcmethod WHERE {_mine("pg_opclass", "o.opcnamespace", "o.oid")}
""",
    ),
    "collation": (
        "pg_collation",
        f"""
SELECT o.oid::regcollation::text,
    jsonb_build_object('provider', o.collprovider, 'deterministic', o.collisdeterministic, 'encoding', o.collencoding,
        'locale', coalesce(to_jsonb(o) ->> 'colllocale', to_jsonb(o) ->> 'colliculocale', o.collcollate),
        'classes', coalesce(to_jsonb(o) ->> 'colllocale', to_jsonb(o) ->> 'colliculocale', o.collctype),
        'rules', to_jsonb(o) ->> 'collicurules')::text, o.oid
FROM pg_collation o WHERE {_mine("pg_collation", "o.collnamespace", "o.oid")}
""",
    ),
    "text search": (
        "pg_ts_config",
        f"""
SELECT o.oid::regdictionary::text, format('%%s %%s', t.tmplname, o.dictinitoption), o.oid
FROM pg_ts_dict o JOIN pg_ts_template t ON t.oid = o.dicttemplate WHERE {
            _mine("pg_ts_dict", "o.dictnamespace", "o.oid")
        }
UNION ALL SELECT o.oid::regconfig::text, format('%%s %%s', p.prsname, (
    SELECT jsonb_agg(format('%%s %%s %%s', m.maptokentype, m.mapseqno, m.mapdict::regdictionary)
        ORDER BY m.maptokentype, m.mapseqno)
    FROM pg_ts_config_map m WHERE m.mapcfg = o.oid)), o.oid
FROM pg_ts_config o JOIN pg_ts_parser p ON p.oid = o.cfgparser WHERE {_mine("pg_ts_config", "o.cfgnamespace", "o.oid")}
""",
    ),
}
# Of all things, chosen in Python by what they are on.
COMMENTS = """
SELECT classoid::regclass::text, objoid, (pg_identify_object(classoid, objoid, objsubid)).identity, description
FROM pg_description WHERE objoid >= 16384 OR (classoid = 'pg_namespace'::regclass)
"""
GRANTS = (
    _WITH_RELATIONS
    + f"""
SELECT format('%%s to %%s on %%s', a.privilege_type,
    CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END, held.label), a.is_grantable::text, 0
FROM (
    SELECT r.label, c.relacl AS acl, c.relowner AS owner FROM relation r JOIN pg_class c USING (oid)
    WHERE c.relnamespace <> ALL (ARRAY(SELECT oid FROM pg_namespace WHERE nspname = 'auth'))
    UNION ALL SELECT p.oid::regprocedure::text, coalesce(p.proacl, acldefault('f', p.proowner)), p.proowner
    FROM pg_proc p
    WHERE {_mine("pg_proc", "p.pronamespace", "p.oid")} AND NOT EXISTS (
        SELECT FROM pg_depend i WHERE i.classid = 'pg_proc'::regclass AND i.objid = p.oid AND i.deptype = 'i')
    UNION ALL SELECT t.oid::regtype::text, coalesce(t.typacl, acldefault('T', t.typowner)), t.typowner
    FROM pg_type t LEFT JOIN pg_class k ON k.oid = t.typrelid
    WHERE {_mine("pg_type", "t.typnamespace", "t.oid")} AND t.typtype <> 'm' AND (k.oid IS NULL OR k.relkind = 'c')
    AND NOT (t.typelem <> 0 AND t.typlen = -1)
    UNION ALL SELECT format('schema %%I', n.nspname), n.nspacl, n.nspowner FROM pg_namespace n
    WHERE n.nspname = ANY (%(schemas)s) AND n.nspname <> 'public'
    UNION ALL SELECT format('what %%s makes in %%I, of kind %%s', pg_get_userbyid(d.defaclrole), n.nspname,
        d.defaclobjtype), d.defaclacl, d.defaclrole
    FROM pg_default_acl d JOIN pg_namespace n ON n.oid = d.defaclnamespace WHERE n.nspname = ANY (%(schemas)s)
    UNION ALL SELECT format('%%s.%%I', r.label, t.attname), t.attacl, c.relowner
    FROM relation r JOIN pg_class c USING (oid) JOIN pg_attribute t ON t.attrelid = r.oid
    WHERE c.relnamespace <> ALL (ARRAY(SELECT oid FROM pg_namespace WHERE nspname = 'auth'))
) held CROSS JOIN LATERAL aclexplode(held.acl) a WHERE a.grantee <> held.owner
"""
)
