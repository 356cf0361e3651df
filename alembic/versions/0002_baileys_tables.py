"""The two Baileys (WhatsApp session) tables: made where they are missing, adopted where they exist.

A table that exists usually holds the login of a running bot. Its rows and columns stay as they are; what is
missing around them is added, and what is there besides is kept, each with a notice. All of it is SQL that looks at
the database when it runs, so that an offline script does the same.
"""

from alembic import op

from app.common.schemas import DATA
from app.schema.revisions import named

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# (table, column, type, the rest of its definition), in the order of the columns
COLUMNS = (
    ("whatsapp_auth", "company_id", "text", "NOT NULL"),
    ("whatsapp_auth", "creds", "jsonb", "NOT NULL"),
    ("whatsapp_auth", "created_at", "timestamp with time zone", "DEFAULT now()"),
    ("whatsapp_auth", "updated_at", "timestamp with time zone", "DEFAULT now()"),
    ("whatsapp_keys", "company_id", "text", "NOT NULL"),
    ("whatsapp_keys", "key_type", "text", "NOT NULL"),
    ("whatsapp_keys", "key_id", "text", "NOT NULL"),
    ("whatsapp_keys", "value", "jsonb", "NOT NULL"),
    ("whatsapp_keys", "created_at", "timestamp with time zone", "DEFAULT now()"),
    ("whatsapp_keys", "updated_at", "timestamp with time zone", "DEFAULT now()"),
    ("whatsapp_keys", "expires_at", "timestamp with time zone", ""),
)

PRIMARY_KEYS = {
    "whatsapp_auth": "PRIMARY KEY (company_id)",
    "whatsapp_keys": "PRIMARY KEY (company_id, key_type, key_id)",
}

# function (none takes arguments): result, body
FUNCTIONS = {
    "update_whatsapp_auth_updated_at": ("trigger", "BEGIN NEW.updated_at = now(); RETURN NEW; END"),
    "update_whatsapp_keys_updated_at": ("trigger", "BEGIN NEW.updated_at = now(); RETURN NEW; END"),
    "cleanup_expired_whatsapp_keys": (
        "TABLE(deleted_count bigint)",
        """
BEGIN
    DELETE FROM whatsapp_keys WHERE expires_at < now();
    GET DIAGNOSTICS deleted_count = ROW_COUNT;
    RETURN NEXT;
END
""",
    ),
    "get_whatsapp_auth_stats": (
        "TABLE(total_companies bigint, total_keys bigint, expired_keys bigint, active_keys bigint, "
        "db_size_bytes bigint)",
        """
BEGIN
    RETURN QUERY
    SELECT
        (SELECT count(*) FROM whatsapp_auth),
        count(*),
        count(*) FILTER (WHERE expires_at < now()),
        count(*) FILTER (WHERE expires_at IS NULL OR expires_at >= now()),
        pg_total_relation_size('whatsapp_auth') + pg_total_relation_size('whatsapp_keys')
    FROM whatsapp_keys;
END
""",
    ),
}

# In the catalog's own words: one that exists is the same if the catalog prints it so.
# CREATE INDEX keeps a running bot from writing until the upgrade commits, at tables of this size a moment.
# CONCURRENTLY cannot run inside the one transaction that lets a failed upgrade leave nothing behind.
INDEXES_AND_TRIGGERS = (
    f"CREATE INDEX idx_whatsapp_auth_company ON {DATA}.whatsapp_auth USING btree (company_id)",
    f"CREATE INDEX idx_whatsapp_keys_company ON {DATA}.whatsapp_keys USING btree (company_id)",
    f"CREATE INDEX idx_whatsapp_keys_company_type_id ON {DATA}.whatsapp_keys USING btree "
    "(company_id, key_type, key_id) INCLUDE (value, created_at, updated_at, expires_at)",
    f"CREATE INDEX idx_whatsapp_keys_expires ON {DATA}.whatsapp_keys USING btree (expires_at) "
    "WHERE (expires_at IS NOT NULL)",
    f"CREATE INDEX idx_whatsapp_keys_expires_cleanup ON {DATA}.whatsapp_keys USING btree (expires_at) "
    "WHERE (expires_at IS NOT NULL)",
    f"CREATE INDEX idx_whatsapp_keys_type ON {DATA}.whatsapp_keys USING btree (key_type)",
    f"CREATE INDEX idx_whatsapp_keys_type_company ON {DATA}.whatsapp_keys USING btree (key_type, company_id)",
    f"CREATE TRIGGER trigger_whatsapp_auth_updated_at BEFORE UPDATE ON {DATA}.whatsapp_auth "
    "FOR EACH ROW EXECUTE FUNCTION update_whatsapp_auth_updated_at()",
    f"CREATE TRIGGER trigger_whatsapp_keys_updated_at BEFORE UPDATE ON {DATA}.whatsapp_keys "
    "FOR EACH ROW EXECUTE FUNCTION update_whatsapp_keys_updated_at()",
)


def values(rows: list[tuple[str, ...]]) -> str:
    """The rows of a VALUES list."""
    quoted = (", ".join("'" + value.replace("'", "''") + "'" for value in row) for row in rows)
    return ",\n        ".join(f"({row})" for row in quoted)


def expected() -> list[tuple[str, ...]]:
    """(kind, table, name, definition as the catalog prints it, statement) of each object, in order of making."""
    rows: list[tuple[str, ...]] = []
    for table, key in PRIMARY_KEYS.items():
        columns = ", ".join(f"{name} {kind} {rest}" for on, name, kind, rest in COLUMNS if on == table)
        rows.append(("table", table, table, "", f"CREATE TABLE {DATA}.{table} ({columns}, {key})"))
    for name, (result, body) in FUNCTIONS.items():
        statement = f"CREATE FUNCTION {DATA}.{name}() RETURNS {result} LANGUAGE plpgsql AS $function${body}$function$"
        rows.append(("function", "", name, result, statement))
    for statement in INDEXES_AND_TRIGGERS:
        _, kind, name, *_ = statement.split()
        table = statement.split(f" ON {DATA}.")[1].split()[0]
        rows.append((kind.lower(), table, name, statement, statement))
    for table in PRIMARY_KEYS:
        policy = f"Allow service role full access to {table}"
        statement = f'CREATE POLICY "{policy}" ON {DATA}.{table} USING (true) WITH CHECK (true)'
        rows.append(("policy", table, policy, "", statement))
        statement = f"ALTER TABLE {DATA}.{table} ENABLE ROW LEVEL SECURITY"
        rows.append(("row-level security", table, "", "", statement))
    return rows


# Every problem of both tables at once.
REFUSE_OTHER_COLUMNS = f"""
DO $$
DECLARE
    problems text;
BEGIN
    SELECT string_agg(problem, '; ' ORDER BY problem) INTO problems
    FROM (
        SELECT relname || ' is not an ordinary table'
        FROM pg_class
        WHERE relnamespace = '{DATA}'::regnamespace AND relname IN {tuple(PRIMARY_KEYS)} AND relkind <> 'r'
        UNION ALL
        SELECT on_table || '.' || name || coalesce(
            ' is of type ' || format_type(atttypid, atttypmod) || ', not ' || type, ' is missing')
        FROM (VALUES
        {values([row[:3] for row in COLUMNS])}
        ) AS expected (on_table, name, type)
        JOIN pg_class ON relname = on_table AND relnamespace = '{DATA}'::regnamespace
        LEFT JOIN pg_attribute ON attrelid = pg_class.oid AND attname = name AND NOT attisdropped
        WHERE format_type(atttypid, atttypmod) IS DISTINCT FROM type
        UNION ALL
        SELECT on_table || ' lacks ' || key
        FROM (VALUES
        {values(list(PRIMARY_KEYS.items()))}
        ) AS expected (on_table, key)
        JOIN pg_class ON relname = on_table AND relnamespace = '{DATA}'::regnamespace
        LEFT JOIN pg_constraint ON conrelid = pg_class.oid AND contype = 'p'
        WHERE pg_get_constraintdef(pg_constraint.oid) IS DISTINCT FROM key
    ) AS found (problem);
    IF problems IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'BD001', MESSAGE =
            'the WhatsApp session tables that exist cannot be adopted: ' || problems || '; nothing was changed';
    END IF;
END $$
"""

ADOPT_OR_CREATE = f"""
DO $$
DECLARE
    adopted name[];
    own_policies name[];
    item record;
BEGIN
    SELECT coalesce(array_agg(relname), '{{}}') INTO adopted
    FROM pg_class WHERE relnamespace = '{DATA}'::regnamespace AND relname IN {tuple(PRIMARY_KEYS)};
    -- Under policies of the user's own, one that allows everything, or switching them on, would change who may
    -- do what.
    SELECT coalesce(array_agg(DISTINCT relname), '{{}}') INTO own_policies
    FROM pg_policy JOIN pg_class ON pg_class.oid = polrelid
    WHERE relnamespace = '{DATA}'::regnamespace AND relname = ANY (adopted)
    AND polname <> 'Allow service role full access to ' || relname;

    FOR item IN
        WITH expected AS (
            SELECT *, row_number() OVER () AS position FROM (VALUES
        {values(expected())}
            ) AS listed (kind, on_table, name, definition, statement)
        ), adopted_table AS (
            SELECT oid, relname, relrowsecurity FROM pg_class
            WHERE relnamespace = '{DATA}'::regnamespace AND relname = ANY (adopted)
        ), existing AS (
            SELECT 'table' AS kind, relname::text AS on_table, relname::text AS name, '' AS definition
            FROM adopted_table
            UNION ALL
            SELECT 'row-level security', relname, '', '' FROM adopted_table WHERE relrowsecurity
            UNION ALL
            SELECT 'policy', relname, polname, ''
            FROM adopted_table JOIN pg_policy ON polrelid = adopted_table.oid
            UNION ALL
            SELECT 'index', adopted_table.relname, index.relname, pg_get_indexdef(indexrelid)
            FROM adopted_table
            JOIN pg_index ON indrelid = adopted_table.oid
            JOIN pg_class AS index ON index.oid = indexrelid
            WHERE NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
            UNION ALL
            SELECT 'constraint', relname, conname, pg_get_constraintdef(pg_constraint.oid)
            FROM adopted_table JOIN pg_constraint ON conrelid = adopted_table.oid
            WHERE contype NOT IN ('p', 'n')
            UNION ALL
            SELECT 'trigger', relname, tgname, pg_get_triggerdef(pg_trigger.oid)
            FROM adopted_table JOIN pg_trigger ON tgrelid = adopted_table.oid
            WHERE NOT tgisinternal
            UNION ALL
            SELECT 'column', relname, attname, ''
            FROM adopted_table JOIN pg_attribute ON attrelid = adopted_table.oid
            WHERE attnum > 0 AND NOT attisdropped
            AND (relname, attname) NOT IN (VALUES {values([row[:2] for row in COLUMNS])})
            UNION ALL
            SELECT 'function', '', proname, pg_get_function_result(oid)
            FROM pg_proc
            WHERE pronamespace = '{DATA}'::regnamespace AND pronargs = 0
            AND proname = ANY (ARRAY{list(FUNCTIONS)})
        )
        SELECT kind, on_table, name, statement, expected.definition AS wanted, existing.definition AS found,
            kind || CASE WHEN name = on_table OR name = '' THEN '' ELSE ' ' || name END
            || CASE WHEN on_table = '' THEN '' ELSE ' of ' || on_table END AS label
        FROM expected FULL JOIN existing USING (kind, on_table, name)
        ORDER BY position, kind, name
    LOOP
        IF item.found IS NULL AND item.kind IN ('policy', 'row-level security')
            AND item.on_table = ANY (own_policies)
        THEN
            RAISE WARNING '% was not added: the table has policies of its own', item.label;
        ELSIF item.found IS NULL THEN
            BEGIN
                EXECUTE item.statement;
            EXCEPTION WHEN program_limit_exceeded THEN
                -- An index that includes values takes rows up to a third of a page; the login is worth more.
                RAISE WARNING '% was not added: a row is too large for it', item.label;
                CONTINUE;
            END;
            IF item.on_table = ANY (adopted) OR item.kind = 'function' AND adopted <> '{{}}' THEN
                RAISE NOTICE 'added %', item.label;
            END IF;
        ELSIF item.kind = 'table' THEN
            RAISE NOTICE 'adopted table % as it is', item.name;
        ELSIF item.wanted IS NULL THEN
            RAISE NOTICE 'kept %, which is not in this schema', item.label;
        ELSIF item.found <> item.wanted THEN
            RAISE WARNING 'kept % as it is: %, where this schema has: %', item.label, item.found, item.wanted;
        END IF;
    END LOOP;
END $$
"""

DROP_UNLESS_FILLED = f"""
DO $$
DECLARE
    filled boolean;
BEGIN
    -- A policy that hides rows from this role is to be an error, not an empty table.
    SET LOCAL row_security = off;
    SELECT EXISTS (SELECT FROM {DATA}.whatsapp_auth) OR EXISTS (SELECT FROM {DATA}.whatsapp_keys) INTO filled;
    IF NOT filled THEN
        -- Nothing is to slip in between the look and the drop.
        LOCK TABLE {DATA}.whatsapp_auth, {DATA}.whatsapp_keys IN ACCESS EXCLUSIVE MODE;
        SELECT EXISTS (SELECT FROM {DATA}.whatsapp_auth) OR EXISTS (SELECT FROM {DATA}.whatsapp_keys) INTO filled;
    END IF;
    IF filled THEN
        RAISE WARNING 'kept whatsapp_auth and whatsapp_keys, with all that belongs to them: they hold rows';
    ELSE
        DROP TABLE {DATA}.whatsapp_keys, {DATA}.whatsapp_auth;
        DROP FUNCTION IF EXISTS {", ".join(f"{DATA}.{name}()" for name in FUNCTIONS)};
    END IF;
END $$
"""


def upgrade() -> None:
    op.execute(named(REFUSE_OTHER_COLUMNS))
    op.execute(named(ADOPT_OR_CREATE))
    if named(DATA) != "public":  # whose functions go by the path of whoever calls them, as they always have
        for name in FUNCTIONS:
            op.execute(named(f"ALTER FUNCTION {DATA}.{name}() SET search_path = {DATA}, pg_temp"))


def downgrade() -> None:
    op.execute(named(DROP_UNLESS_FILLED))
