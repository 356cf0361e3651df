"""The page server's root document: an OpenAPI description of one schema, made from the catalog as PostgREST makes it.

Types are written with an empty search path, so that a type of the database's own comes with its schema. A domain over a
builtin type comes as that type.
"""

# One parameter: the schema. Partitions are left out, as PostgREST leaves them out; their root stays.
DOCUMENT = """
WITH path AS MATERIALIZED (SELECT set_config('search_path', '', true)),
columns AS (
    SELECT c.relname, obj_description(c.oid, 'pg_class') AS said, a.attname, a.attnum, a.attnotnull,
        CASE WHEN t.typtype = 'd' AND base.typnamespace = 'pg_catalog'::regnamespace
                THEN format_type(t.typbasetype, NULL)
            WHEN t.typtype <> 'd' AND t.typnamespace = 'pg_catalog'::regnamespace THEN format_type(a.atttypid, NULL)
            ELSE format_type(a.atttypid, a.atttypmod) END AS type,
        information_schema._pg_char_max_length(
            information_schema._pg_truetypid(a, t), information_schema._pg_truetypmod(a, t)) AS longest,
        (SELECT json_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum e
            WHERE e.enumtypid IN (t.oid, t.typbasetype)) AS labels,
        pg_get_expr(d.adbin, d.adrelid) AS default_value,
        coalesce(a.attnum = ANY (p.conkey), false) AS in_key, col_description(c.oid, a.attnum) AS column_said
    FROM path, pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type base ON base.oid = t.typbasetype
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    LEFT JOIN pg_constraint p ON p.conrelid = c.oid AND p.contype = 'p'
    WHERE c.relnamespace = to_regnamespace(quote_ident($1)) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND NOT c.relispartition
    AND (has_table_privilege(c.oid, 'SELECT, INSERT, UPDATE, DELETE') OR has_any_column_privilege(c.oid, 'SELECT'))
),
properties AS (
    SELECT *, CASE WHEN type IN ('json', 'jsonb') THEN NULL WHEN type LIKE '%[]' THEN 'array'
            WHEN type = 'boolean' THEN 'boolean' WHEN type IN ('smallint', 'integer', 'bigint') THEN 'integer'
            WHEN type IN ('numeric', 'real', 'double precision') THEN 'number' ELSE 'string' END AS kind
    FROM columns
),
tables AS (
    SELECT relname, json_strip_nulls(json_build_object(
        'description', min(said),
        'required', json_agg(attname ORDER BY attnum) FILTER (WHERE attnotnull),
        'properties', json_object_agg(attname, json_build_object(
            'default', CASE WHEN kind = 'string' THEN default_value END,
            'description', nullif(concat_ws(E'\\n\\n', column_said,
                CASE WHEN in_key THEN E'Note:\\nThis is a Primary Key.<pk/>' END), ''),
            'enum', labels, 'format', type, 'maxLength', longest, 'type', kind) ORDER BY attnum),
        'type', 'object')) AS definition
    FROM properties GROUP BY relname
)
SELECT json_build_object(
    'swagger', '2.0', 'info', json_build_object('title', 'PostgREST API', 'version', '12.2.3'), 'basePath', '/',
    'definitions', coalesce(json_object_agg(relname, definition), '{}'))::text FROM tables
"""
