"""Questions on what belongs to a database or its server and to no schema: extensions, roles, publications, servers."""

from app.migration.inventory.questions.question import Question

_DUMP = "pg_dump --schema-only has the statement"

EXTENSIONS = Question(
    "extension",
    """
SELECT e.oid, NULL AS schema, NULL AS owner, extname AS name, extname AS definition, extversion AS detail
FROM pg_extension e
""",
    'CREATE EXTENSION IF NOT EXISTS "{name}" in the target',
    catalog="pg_extension",
)
ROLES = Question(
    "role",
    """
SELECT r.oid, NULL AS schema, rolname AS owner, format('%I', rolname) AS name,
    concat_ws(' ', rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls,
        rolconnlimit, rolvaliduntil, (SELECT string_agg(roleid::regrole::text, ', ' ORDER BY roleid::regrole::text)
        FROM pg_auth_members WHERE member = r.oid)) AS definition,
    CASE WHEN rolcanlogin THEN 'signs in; its password is not compared' ELSE 'does not sign in' END AS detail
FROM pg_roles r WHERE r.oid >= 16384 AND rolname !~ '^pg_'
""",
    "CREATE ROLE {name} on the target's server, where the application uses it",
    catalog=None,
)

DATABASE_OBJECTS = (
    EXTENSIONS,
    # Rows of an extension's own tables that are the user's, as the extension says.
    Question(
        "extension rows",
        """
SELECT e.oid, nspname AS schema, NULL AS owner, format('%I.%I', nspname, relname) AS name, '' AS definition,
    'a table of the extension ' || extname || ' that may hold rows of the user' AS detail
FROM pg_extension e CROSS JOIN LATERAL unnest(extconfig) x JOIN pg_class c ON c.oid = x
JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('r', 'p') AND nspname <> 'cron'
""",
        "pg_dump --data-only --table='{name}' gives the rows that are not the extension's own",
        catalog=None,
        compared=False,
    ),
    Question(
        "event trigger",
        """
SELECT e.oid, nspname AS schema, pg_get_userbyid(evtowner) AS owner, format('%I', evtname) AS name,
    concat_ws(' ', evtevent, evtfoid::regprocedure, evtenabled, evttags::text) AS definition,
    'calls ' || evtfoid::regproc || ' on ' || evtevent AS detail
FROM pg_event_trigger e JOIN pg_proc p ON p.oid = evtfoid JOIN pg_namespace n ON n.oid = pronamespace
""",
        "CREATE EVENT TRIGGER {name} in the target, as a superuser; " + _DUMP,
        catalog="pg_event_trigger",
    ),
    Question(
        "cast",
        """
SELECT c.oid, NULL AS schema, NULL AS owner,
    format('(%s AS %s)', format_type(castsource, NULL), format_type(casttarget, NULL)) AS name,
    concat_ws(' ', nullif(castfunc, 0)::regprocedure, castcontext, castmethod) AS definition, '' AS detail
FROM pg_cast c WHERE c.oid >= 16384
""",
        "CREATE CAST {name} in the target; " + _DUMP,
        catalog="pg_cast",
    ),
    Question(
        "default privileges",
        """
SELECT d.oid, NULL AS schema, pg_get_userbyid(defaclrole) AS owner,
    concat_ws(' ', 'for ' || pg_get_userbyid(defaclrole), 'in ' || nspname, 'on', CASE defaclobjtype
        WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions'
        WHEN 'T' THEN 'types' WHEN 'n' THEN 'schemas' ELSE defaclobjtype::text END) AS name,
    (SELECT string_agg(x::text, ', ' ORDER BY x::text) FROM unnest(defaclacl) x) AS definition,
    'to ' || (SELECT string_agg(DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee) END, ', ')
        FROM aclexplode(defaclacl)) AS detail
FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = defaclnamespace
""",
        "ALTER DEFAULT PRIVILEGES in the target; " + _DUMP,
        catalog="pg_default_acl",
    ),
    Question(
        "setting",
        """
SELECT 0 AS oid, NULL AS schema, pg_get_userbyid(nullif(setrole, 0)) AS owner,
    concat_ws(' ', CASE WHEN setdatabase <> 0 THEN 'database' END, 'role ' || pg_get_userbyid(nullif(setrole, 0)))
        || ': ' || split_part(s, '=', 1) AS name,
    substr(s, strpos(s, '=') + 1) AS definition, 'set by ALTER ROLE or ALTER DATABASE ... SET' AS detail
FROM pg_db_role_setting CROSS JOIN LATERAL unnest(setconfig) s
WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
""",
        "ALTER ROLE (or DATABASE) ... SET in the target",
        catalog=None,
    ),
    ROLES,
    Question(
        "publication",
        """
SELECT p.oid, NULL AS schema, pg_get_userbyid(pubowner) AS owner, format('%I', pubname) AS name,
    concat_ws(' ', puballtables, pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot, t.tables) AS definition,
    'of ' || CASE WHEN puballtables THEN 'all tables' ELSE coalesce(t.tables, 'no table') END AS detail
FROM pg_publication p LEFT JOIN LATERAL (
    SELECT string_agg(format('%I.%I', schemaname, tablename), ', ' ORDER BY schemaname, tablename) AS tables
    FROM pg_publication_tables x
    WHERE x.pubname = p.pubname
) t ON true
""",
        "CREATE PUBLICATION {name} in the target, with a server of its own that sends the changes on (as Supabase's "
        "realtime did); else tick it off",
        catalog="pg_publication",
    ),
    Question(
        "subscription",
        """
SELECT s.oid, NULL AS schema, pg_get_userbyid(subowner) AS owner, format('%I', subname) AS name, '' AS definition,
    'of ' || array_to_string(subpublications, ', ') AS detail
FROM pg_subscription s WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
""",
        "CREATE SUBSCRIPTION {name} in the target, when the source's is dropped",
        catalog="pg_subscription",
        compared=False,
    ),
    Question(
        "foreign-data wrapper",
        """
SELECT w.oid, NULL AS schema, pg_get_userbyid(fdwowner) AS owner, format('%I', fdwname) AS name,
    concat_ws(' ', nullif(fdwhandler, 0)::regprocedure, nullif(fdwvalidator, 0)::regprocedure, fdwoptions::text)
        AS definition, '' AS detail
FROM pg_foreign_data_wrapper w
""",
        "CREATE FOREIGN DATA WRAPPER {name}, or its extension, in the target",
        catalog="pg_foreign_data_wrapper",
    ),
    Question(
        "foreign server",
        """
SELECT s.oid, NULL AS schema, pg_get_userbyid(srvowner) AS owner, format('%I', srvname) AS name,
    concat_ws(' ', fdwname, srvtype, srvversion, srvoptions::text) AS definition, 'by ' || fdwname AS detail
FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = srvfdw
""",
        "CREATE SERVER {name} in the target",
        catalog="pg_foreign_server",
    ),
    Question(
        "user mapping",
        """
SELECT m.umid AS oid, NULL AS schema, NULL AS owner, format('%I for %s', srvname, usename) AS name, '' AS definition,
    'its options, which may hold a password, are not read' AS detail
FROM pg_user_mappings m
""",
        "CREATE USER MAPPING in the target, with the password from where it is kept",
        catalog="pg_user_mapping",
        compared=False,
    ),
    Question(
        "large objects",
        """
SELECT 0 AS oid, NULL AS schema, NULL AS owner, '(all)' AS name,
    md5(string_agg(oid::text, ',' ORDER BY oid)) AS definition, count(*) || ' objects' AS detail
FROM pg_largeobject_metadata HAVING count(*) > 0
""",
        "pg_dump --large-objects --data-only --exclude-schema='*' from the source, and psql or pg_restore into the "
        "target: they keep their numbers",
        catalog=None,
        compared=False,
    ),
)
