"""Schema `botdata` of the target: the tool's own tables, made and upgraded by the tool itself."""

from __future__ import annotations

from psycopg import AsyncConnection

# Each entry is one version and is never changed afterwards; a later version is a new entry.
_VERSIONS = (
    """
    CREATE TABLE botdata.runs (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        command text NOT NULL,
        source text NOT NULL,
        state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'complete')),
        started_at timestamptz NOT NULL DEFAULT now(),
        finished_at timestamptz
    );
    CREATE TABLE botdata.checkpoints (
        run_id bigint NOT NULL REFERENCES botdata.runs ON DELETE CASCADE,
        table_name text NOT NULL,
        last_key text[],
        source_before bigint NOT NULL,
        pages bigint NOT NULL DEFAULT 0,
        inserted bigint NOT NULL DEFAULT 0,
        updated bigint NOT NULL DEFAULT 0,
        unchanged bigint NOT NULL DEFAULT 0,
        state text NOT NULL DEFAULT 'copying' CHECK (state IN ('copying', 'complete')),
        changed_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (run_id, table_name)
    );
    -- The transactions that wrote rows: xmin of a row of ours is one of these.
    CREATE TABLE botdata.writes (
        run_id bigint NOT NULL REFERENCES botdata.runs ON DELETE CASCADE,
        table_name text NOT NULL,
        xid text NOT NULL,
        PRIMARY KEY (run_id, table_name, xid)
    );
    CREATE TABLE botdata.quarantine (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        run_id bigint NOT NULL REFERENCES botdata.runs ON DELETE CASCADE,
        table_name text NOT NULL,
        key text[] NOT NULL,
        row_text json NOT NULL,
        sqlstate text NOT NULL,
        message text NOT NULL,
        place text,
        refused_at timestamptz NOT NULL DEFAULT now(),
        UNIQUE (table_name, key)
    );
    """,
    """
    -- Given up by --restart, or by a run that does not go on from it.
    ALTER TABLE botdata.runs DROP CONSTRAINT runs_state_check,
        ADD CONSTRAINT runs_state_check CHECK (state IN ('running', 'complete', 'abandoned'));
    -- When the present start of the run came to the table, and the rows it had by then: what its rate is reckoned from.
    ALTER TABLE botdata.checkpoints ADD COLUMN begun_at timestamptz NOT NULL DEFAULT now(),
        ADD COLUMN rows_before bigint NOT NULL DEFAULT 0;
    -- The target held no row of the table when the run came to it: rows can be streamed straight in.
    ALTER TABLE botdata.checkpoints ADD COLUMN was_empty boolean NOT NULL DEFAULT false;
    -- Key ranges of a table that is copied over database connections: each is loaded in one transaction.
    CREATE TABLE botdata.ranges (
        run_id bigint NOT NULL REFERENCES botdata.runs ON DELETE CASCADE,
        table_name text NOT NULL,
        number integer NOT NULL,
        low text[], -- keys above this one, up to and including the high one; NULL: no bound
        high text[],
        rows bigint,
        complete boolean NOT NULL DEFAULT false,
        PRIMARY KEY (run_id, table_name, number)
    );
    -- The snapshots of the source that a run read: one for each start.
    CREATE TABLE botdata.snapshots (
        run_id bigint NOT NULL REFERENCES botdata.runs ON DELETE CASCADE,
        snapshot text NOT NULL,
        taken_at timestamptz NOT NULL DEFAULT now()
    );
    -- Foreign keys of the target that a run took away, until they are back and validated.
    CREATE TABLE botdata.foreign_keys (
        run_id bigint NOT NULL REFERENCES botdata.runs ON DELETE CASCADE,
        schema_name text NOT NULL,
        table_name text NOT NULL,
        name text NOT NULL,
        referenced text NOT NULL, -- schema and table, quoted
        definition text NOT NULL, -- without NOT VALID
        orphans text NOT NULL, -- the query for the rows that break it
        was_valid boolean NOT NULL DEFAULT true,
        state text NOT NULL DEFAULT 'dropped' CHECK (state IN ('dropped', 'not valid', 'validated')),
        PRIMARY KEY (schema_name, table_name, name)
    );
    -- Rows that were the same on both sides, with the xmin of either: while both stand, nothing has changed.
    CREATE TABLE botdata.row_versions (
        table_name text NOT NULL,
        key text[] NOT NULL,
        source_xid text NOT NULL,
        target_xid text NOT NULL,
        PRIMARY KEY (table_name, key)
    );
    -- Rows that a sync replaced although they had changed later than the rows that replaced them.
    CREATE TABLE botdata.replaced_rows (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        run_id bigint NOT NULL REFERENCES botdata.runs ON DELETE CASCADE,
        table_name text NOT NULL,
        key text[] NOT NULL,
        row_text json NOT NULL,
        replaced_at timestamptz NOT NULL DEFAULT now()
    );
    """,
    """
    -- Where the cutover stands. Each write to PostgreSQL reads it FOR SHARE, so that a move waits for those in flight.
    CREATE TABLE botdata.stage (
        id integer PRIMARY KEY DEFAULT 1 CHECK (id = 1),
        stage text NOT NULL DEFAULT 'off'
            CHECK (stage IN ('off', 'dualwrite', 'shadow', 'live', 'rampdown', 'complete')),
        moved_at timestamptz, -- NULL: no command has moved it yet, so the environment alone decides where it is fixed
        finished_at timestamptz -- the way back was ended
    );
    INSERT INTO botdata.stage DEFAULT VALUES;
    -- What the commands did; one that is 'holding' asks every process to hold its writes until hold_until.
    CREATE TABLE botdata.moves (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        kind text NOT NULL CHECK (kind IN ('advance', 'back', 'finish', 'forget', 'table')),
        from_stage text,
        to_stage text,
        subject text, -- the process or the table
        state text NOT NULL CHECK (state IN ('holding', 'done', 'given up')),
        begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        hold_until timestamptz,
        ended_at timestamptz,
        done_by text NOT NULL,
        reason text, -- why it was forced
        said text -- the reasons against it, or why it was given up
    );
    CREATE UNIQUE INDEX moves_holding ON botdata.moves ((true)) WHERE state = 'holding';
    -- The bot's processes: each reports itself every second, and takes its row away when it ends.
    CREATE TABLE botdata.processes (
        name text PRIMARY KEY,
        stage text NOT NULL,
        chosen_by text NOT NULL, -- CUTOVER_STAGE=database, or the setting that fixed the stage
        began_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        reported_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        stage_since timestamptz NOT NULL DEFAULT clock_timestamp(),
        held_move bigint, -- it holds its writes for this move, and none is in flight
        in_flight integer NOT NULL DEFAULT 0,
        pending_mirrors integer NOT NULL DEFAULT 0,
        spooled integer NOT NULL DEFAULT 0, -- notes in its spool file
        problem text
    );
    -- Tables that no method writes have an authority of their own; one that is not here has Supabase.
    CREATE TABLE botdata.table_authority (
        table_name text PRIMARY KEY,
        authority text NOT NULL CHECK (authority IN ('supabase', 'postgres')),
        changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
    );
    -- Natural keys that are being written to Supabase, while that is the authority, until PostgreSQL has the rows.
    CREATE TABLE botdata.notes (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        process text NOT NULL,
        table_name text NOT NULL,
        key text[] NOT NULL,
        noted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        state text NOT NULL DEFAULT 'writing' CHECK (state IN ('writing', 'written', 'unknown')),
        attempts integer NOT NULL DEFAULT 0, -- mirrors that failed
        last_error text
    );
    CREATE INDEX notes_key ON botdata.notes (table_name, key);
    -- When a sync last had notes to repair, or a note was last left by its mirror: what later proofs must begin after.
    CREATE TABLE botdata.last_left_note (
        id integer PRIMARY KEY DEFAULT 1 CHECK (id = 1),
        left_at timestamptz
    );
    INSERT INTO botdata.last_left_note DEFAULT VALUES;
    -- Natural keys that were written to PostgreSQL, while that is the authority, until Supabase has the rows.
    CREATE TABLE botdata.outbox (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        process text NOT NULL,
        table_name text NOT NULL,
        key text[] NOT NULL,
        recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        attempts integer NOT NULL DEFAULT 0, -- sends that failed
        next_attempt_at timestamptz NOT NULL DEFAULT clock_timestamp() + interval '2 seconds', -- by a drainer
        unsure boolean NOT NULL DEFAULT true, -- a send may have been begun, and may still land
        recheck_at timestamptz, -- sent; read back then, since an earlier send of unknown outcome may have landed since
        last_error text
    );
    CREATE INDEX outbox_key ON botdata.outbox (table_name, key);
    CREATE INDEX outbox_due ON botdata.outbox (next_attempt_at);
    -- What each verify found of a table.
    CREATE TABLE botdata.verifications (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        source text NOT NULL,
        table_name text NOT NULL,
        began_at timestamptz NOT NULL,
        ended_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        differences bigint NOT NULL
    );
    CREATE INDEX verifications_table ON botdata.verifications (table_name, began_at);
    -- When a sync from the source last looked at a table and brought over all that had changed.
    CREATE TABLE botdata.synced_tables (
        table_name text PRIMARY KEY,
        source text NOT NULL,
        began_at timestamptz NOT NULL,
        ended_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        changed_at timestamptz -- when one last ended whose changes the mirrors do not explain: a verify is to follow
    );
    -- Answers compared, by method and minute; latencies as counts of buckets (app.common.metrics).
    CREATE TABLE botdata.comparisons (
        process text NOT NULL,
        minute timestamptz NOT NULL,
        stage text NOT NULL,
        method text NOT NULL,
        against_itself boolean NOT NULL DEFAULT false,
        calls bigint NOT NULL DEFAULT 0,
        equal bigint NOT NULL DEFAULT 0,
        different bigint NOT NULL DEFAULT 0,
        error bigint NOT NULL DEFAULT 0,
        skipped bigint NOT NULL DEFAULT 0,
        authority_latency bigint[] NOT NULL DEFAULT '{}',
        other_latency bigint[] NOT NULL DEFAULT '{}',
        PRIMARY KEY (process, minute, stage, method, against_itself)
    );
    CREATE INDEX comparisons_minute ON botdata.comparisons (minute);
    -- Differences that were confirmed, one row for each cause: a method and the fields that differ.
    CREATE TABLE botdata.differences (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        stage text NOT NULL,
        method text NOT NULL,
        against_itself boolean NOT NULL DEFAULT false,
        cause text NOT NULL, -- the fields and the types of their values
        arguments text NOT NULL, -- of the last call, masked
        fields json NOT NULL, -- of the last call: path, types and hashes, and values where they were asked for
        count bigint NOT NULL DEFAULT 1,
        first_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        last_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        UNIQUE (stage, method, against_itself, cause)
    );
    """,
    """
    -- A table outside of public is known with its schema: billing.invoices. Rows from before say invoices alone; they
    -- are renamed where public has no such table and one other schema has.
    DO $do$
    DECLARE
        kept text;
    BEGIN
        FOREACH kept IN ARRAY ARRAY['checkpoints', 'writes', 'quarantine', 'ranges', 'row_versions', 'replaced_rows',
            'verifications', 'synced_tables'] LOOP
            EXECUTE format($sql$
                UPDATE botdata.%I k SET table_name = t.schema || '.' || k.table_name FROM (
                    SELECT relname::text AS name, min(nspname::text) AS schema
                    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                    WHERE relkind IN ('r', 'p') AND nspname NOT IN ('botdata', 'information_schema')
                    AND nspname !~ '^pg_' GROUP BY relname HAVING count(*) = 1
                ) t WHERE t.name = k.table_name AND t.schema <> 'public'
            $sql$, kept);
        END LOOP;
    END $do$;
    """,
    """
    -- What the catalogs say of a table's values: see app.migration.sources.postgres.silent_changes.
    CREATE TABLE botdata.shapes (
        table_name text PRIMARY KEY,
        source text NOT NULL,
        target text NOT NULL
    );
    """,
)
# Two first starts at once must not both make the schema; any constant that no other program uses will do.
_LOCK = 5_287_410_331


def newest_version() -> int:
    """The version of the schema that this botdata makes."""
    return len(_VERSIONS)


async def is_current(connection: AsyncConnection) -> bool:
    """Whether the schema is there, of this version."""
    return await _version(connection) == newest_version()


async def ensure_tool_schema(connection: AsyncConnection) -> None:
    """Make the schema or bring it to this version; nothing where it is current.

    Raises:
        psycopg.Error: the role may not create a schema, or the server refuses.
    """
    if await is_current(connection):
        return  # asks for no right to create anything
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        await connection.execute("CREATE SCHEMA IF NOT EXISTS botdata")
        await connection.execute("CREATE TABLE IF NOT EXISTS botdata.version (version integer NOT NULL)")
        current = await _version(connection)
        for number, ddl in enumerate(_VERSIONS, start=1):
            if number > current:
                await connection.execute(ddl)
                await connection.execute("INSERT INTO botdata.version VALUES (%s)", [number])


async def _version(connection: AsyncConnection) -> int:
    """The version of the schema that is there; 0 for none."""
    row = await (await connection.execute("SELECT to_regclass('botdata.version') IS NOT NULL")).fetchone()
    if not (row and row[0]):
        return 0
    row = await (await connection.execute("SELECT max(version) FROM botdata.version")).fetchone()
    return (row[0] if row else None) or 0


async def may_read(connection: AsyncConnection, table: str) -> bool:
    """Whether the schema has this table, and the role may read it."""
    cursor = await connection.execute(
        "SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'botdata' AND relname = %s "
        "AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')",
        [table],
    )
    return await cursor.fetchone() is not None


async def drop_tool_schema(connection: AsyncConnection) -> bool:
    """Drop the schema with all it remembers; False where there was none."""
    async with connection.transaction():
        row = await (await connection.execute("SELECT to_regnamespace('botdata') IS NOT NULL")).fetchone()
        await connection.execute("DROP SCHEMA IF EXISTS botdata CASCADE")
    return bool(row and row[0])
