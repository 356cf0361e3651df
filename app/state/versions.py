"""The tables of schema `botdata`, version by version."""

from app.state.schema_name import SCHEMA
from app.state.wal import TIMELINE

# Each entry is one version and is never changed afterwards; a later version is a new entry.
VERSIONS = (
    f"""
    CREATE TABLE {SCHEMA}.runs (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        command text NOT NULL,
        source text NOT NULL,
        state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'complete')),
        started_at timestamptz NOT NULL DEFAULT now(),
        finished_at timestamptz
    );
    CREATE TABLE {SCHEMA}.checkpoints (
        run_id bigint NOT NULL REFERENCES {SCHEMA}.runs ON DELETE CASCADE,
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
    CREATE TABLE {SCHEMA}.writes (
        run_id bigint NOT NULL REFERENCES {SCHEMA}.runs ON DELETE CASCADE,
        table_name text NOT NULL,
        xid text NOT NULL,
        PRIMARY KEY (run_id, table_name, xid)
    );
    CREATE TABLE {SCHEMA}.quarantine (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        run_id bigint NOT NULL REFERENCES {SCHEMA}.runs ON DELETE CASCADE,
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
    f"""
    -- Given up by --restart, or by a run that does not go on from it.
    ALTER TABLE {SCHEMA}.runs DROP CONSTRAINT runs_state_check,
        ADD CONSTRAINT runs_state_check CHECK (state IN ('running', 'complete', 'abandoned'));
    -- When the present start of the run came to the table, and the rows it had by then: what its rate is reckoned from.
    ALTER TABLE {SCHEMA}.checkpoints ADD COLUMN begun_at timestamptz NOT NULL DEFAULT now(),
        ADD COLUMN rows_before bigint NOT NULL DEFAULT 0;
    -- The target held no row of the table when the run came to it: rows can be streamed straight in.
    ALTER TABLE {SCHEMA}.checkpoints ADD COLUMN was_empty boolean NOT NULL DEFAULT false;
    -- Key ranges of a table that is copied over database connections: each is loaded in one transaction.
    CREATE TABLE {SCHEMA}.ranges (
        run_id bigint NOT NULL REFERENCES {SCHEMA}.runs ON DELETE CASCADE,
        table_name text NOT NULL,
        number integer NOT NULL,
        low text[], -- keys above this one, up to and including the high one; NULL: no bound
        high text[],
        rows bigint,
        complete boolean NOT NULL DEFAULT false,
        PRIMARY KEY (run_id, table_name, number)
    );
    -- The snapshots of the source that a run read: one for each start.
    CREATE TABLE {SCHEMA}.snapshots (
        run_id bigint NOT NULL REFERENCES {SCHEMA}.runs ON DELETE CASCADE,
        snapshot text NOT NULL,
        taken_at timestamptz NOT NULL DEFAULT now()
    );
    -- Foreign keys of the target that a run took away, until they are back and validated.
    CREATE TABLE {SCHEMA}.foreign_keys (
        run_id bigint NOT NULL REFERENCES {SCHEMA}.runs ON DELETE CASCADE,
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
    CREATE TABLE {SCHEMA}.row_versions (
        table_name text NOT NULL,
        key text[] NOT NULL,
        source_xid text NOT NULL,
        target_xid text NOT NULL,
        PRIMARY KEY (table_name, key)
    );
    -- Rows that a sync replaced although they had changed later than the rows that replaced them.
    CREATE TABLE {SCHEMA}.replaced_rows (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        run_id bigint NOT NULL REFERENCES {SCHEMA}.runs ON DELETE CASCADE,
        table_name text NOT NULL,
        key text[] NOT NULL,
        row_text json NOT NULL,
        replaced_at timestamptz NOT NULL DEFAULT now()
    );
    """,
    f"""
    -- Where the cutover stands. Each write to PostgreSQL reads it FOR SHARE, so that a move waits for those in flight.
    CREATE TABLE {SCHEMA}.stage (
        id integer PRIMARY KEY DEFAULT 1 CHECK (id = 1),
        stage text NOT NULL DEFAULT 'off'
            CHECK (stage IN ('off', 'dualwrite', 'shadow', 'live', 'rampdown', 'complete')),
        moved_at timestamptz, -- NULL: no command has moved it yet, so the environment alone decides where it is fixed
        finished_at timestamptz -- the way back was ended
    );
    INSERT INTO {SCHEMA}.stage DEFAULT VALUES;
    -- What the commands did; one that is 'holding' asks every process to hold its writes until hold_until.
    CREATE TABLE {SCHEMA}.moves (
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
    CREATE UNIQUE INDEX moves_holding ON {SCHEMA}.moves ((true)) WHERE state = 'holding';
    -- The bot's processes: each reports itself every second, and takes its row away when it ends.
    CREATE TABLE {SCHEMA}.processes (
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
    CREATE TABLE {SCHEMA}.table_authority (
        table_name text PRIMARY KEY,
        authority text NOT NULL CHECK (authority IN ('supabase', 'postgres')),
        changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
    );
    -- Natural keys that are being written to Supabase, while that is the authority, until PostgreSQL has the rows.
    CREATE TABLE {SCHEMA}.notes (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        process text NOT NULL,
        table_name text NOT NULL,
        key text[] NOT NULL,
        noted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        state text NOT NULL DEFAULT 'writing' CHECK (state IN ('writing', 'written', 'unknown')),
        attempts integer NOT NULL DEFAULT 0, -- mirrors that failed
        last_error text
    );
    CREATE INDEX notes_key ON {SCHEMA}.notes (table_name, key);
    -- When a sync last had notes to repair, or a note was last left by its mirror: what later proofs must begin after.
    CREATE TABLE {SCHEMA}.last_left_note (
        id integer PRIMARY KEY DEFAULT 1 CHECK (id = 1),
        left_at timestamptz
    );
    INSERT INTO {SCHEMA}.last_left_note DEFAULT VALUES;
    -- Natural keys that were written to PostgreSQL, while that is the authority, until Supabase has the rows.
    CREATE TABLE {SCHEMA}.outbox (
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
    CREATE INDEX outbox_key ON {SCHEMA}.outbox (table_name, key);
    CREATE INDEX outbox_due ON {SCHEMA}.outbox (next_attempt_at);
    -- What each verify found of a table.
    CREATE TABLE {SCHEMA}.verifications (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        source text NOT NULL,
        table_name text NOT NULL,
        began_at timestamptz NOT NULL,
        ended_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        differences bigint NOT NULL
    );
    CREATE INDEX verifications_table ON {SCHEMA}.verifications (table_name, began_at);
    -- When a sync from the source last looked at a table and brought over all that had changed.
    CREATE TABLE {SCHEMA}.synced_tables (
        table_name text PRIMARY KEY,
        source text NOT NULL,
        began_at timestamptz NOT NULL,
        ended_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        changed_at timestamptz -- when one last ended whose changes the mirrors do not explain: a verify is to follow
    );
    -- Answers compared, by method and minute; latencies as counts of buckets (app.common.metrics).
    CREATE TABLE {SCHEMA}.comparisons (
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
        authority_latency bigint[] NOT NULL DEFAULT '{{}}',
        other_latency bigint[] NOT NULL DEFAULT '{{}}',
        PRIMARY KEY (process, minute, stage, method, against_itself)
    );
    CREATE INDEX comparisons_minute ON {SCHEMA}.comparisons (minute);
    -- Differences that were confirmed, one row for each cause: a method and the fields that differ.
    CREATE TABLE {SCHEMA}.differences (
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
    f"""
    -- A table outside of public is known with its schema: billing.invoices. Rows from before say invoices alone; they
    -- are renamed where public has no such table and one other schema has.
    DO $do$
    DECLARE
        kept text;
    BEGIN
        FOREACH kept IN ARRAY ARRAY['checkpoints', 'writes', 'quarantine', 'ranges', 'row_versions', 'replaced_rows',
            'verifications', 'synced_tables'] LOOP
            EXECUTE format($sql$
                UPDATE {SCHEMA}.%I k SET table_name = t.schema || '.' || k.table_name FROM (
                    SELECT relname::text AS name, min(nspname::text) AS schema
                    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                    WHERE relkind IN ('r', 'p') AND nspname NOT IN ('{SCHEMA}', 'information_schema')
                    AND nspname !~ '^pg_' GROUP BY relname HAVING count(*) = 1
                ) t WHERE t.name = k.table_name AND t.schema <> 'public'
            $sql$, kept);
        END LOOP;
    END $do$;
    """,
    f"""
    -- What the catalogs say of a table's values: see app.migration.sources.postgres.silent_changes.
    CREATE TABLE {SCHEMA}.shapes (
        table_name text PRIMARY KEY,
        source text NOT NULL,
        target text NOT NULL
    );
    """,
    f"""
    -- Rows that a sync has taken out of the source to make room for others: they are put back where those are refused.
    ALTER TABLE {SCHEMA}.replaced_rows ADD COLUMN taken_out boolean NOT NULL DEFAULT false;
    """,
    rf"""
    -- One name for all the addresses of a Supabase project: see app.stores.postgres.database_url.source_label.
    DO $do$
    DECLARE
        kept text;
    BEGIN
        FOREACH kept IN ARRAY ARRAY['runs', 'verifications', 'synced_tables'] LOOP
            EXECUTE format($sql$
                UPDATE {SCHEMA}.%I SET source = regexp_replace(source,
                    '^(?:db\.([a-z0-9]+)\.supabase\.co|([a-z0-9]+)@[a-z0-9.-]+\.pooler\.supabase\.com)(?::\d+)?/postgres$',
                    '\1\2.supabase.co') WHERE source ~ '\.supabase\.com?(:\d+)?/postgres$'
            $sql$, kept);
        END LOOP;
    END $do$;
    """,
    f"""
    -- The last inventory: a list of objects, see app.state.runs.inventory.
    CREATE TABLE {SCHEMA}.inventory (
        id integer PRIMARY KEY DEFAULT 1 CHECK (id = 1),
        source text NOT NULL,
        taken_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        items json NOT NULL
    );
    -- Items of an inventory that a person has dealt with, as long as the item's definition is this one.
    CREATE TABLE {SCHEMA}.ticks (
        item text PRIMARY KEY,
        definition text NOT NULL,
        note text NOT NULL,
        done_at timestamptz NOT NULL DEFAULT clock_timestamp()
    );
    """,
    f"""
    -- A foreign key that stays on its table, marked valid, while rows are written and PostgreSQL does not check it.
    ALTER TABLE {SCHEMA}.foreign_keys DROP CONSTRAINT foreign_keys_state_check, ADD CONSTRAINT foreign_keys_state_check
        CHECK (state IN ('dropped', 'not valid', 'validated', 'unproved'));
    """,
    f"""
    -- What is said of a foreign key goes with it when it is dropped.
    ALTER TABLE {SCHEMA}.foreign_keys ADD COLUMN comment text;
    """,
    f"""
    -- The key of the hashes of `botdata report`, as HMAC takes it: see app.state.digests. It is for the owner alone,
    -- also where what the owner makes is granted to others.
    CREATE TABLE {SCHEMA}.digest_key (
        id integer PRIMARY KEY DEFAULT 1 CHECK (id = 1),
        name text NOT NULL,
        inner_pad bytea NOT NULL,
        outer_pad bytea NOT NULL,
        made_at timestamptz NOT NULL DEFAULT clock_timestamp()
    );
    DO $do$
    DECLARE
        other text;
    BEGIN
        FOR other IN SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END
            FROM pg_class c, aclexplode(c.relacl)
            WHERE c.oid = '{SCHEMA}.digest_key'::regclass AND grantee <> c.relowner LOOP
            EXECUTE format('REVOKE ALL ON {SCHEMA}.digest_key FROM %s', other);
        END LOOP;
    END $do$;
    -- The last digest of each side of a table.
    CREATE TABLE {SCHEMA}.digests (
        table_name text NOT NULL,
        side text NOT NULL CHECK (side IN ('source', 'target')),
        source text,
        made_at timestamptz NOT NULL,
        columns text[] NOT NULL,
        counted bigint,
        buckets json NOT NULL, -- by number: rows, and the sum of their hashes
        PRIMARY KEY (table_name, side)
    );
    """,
    f"""
    -- Events that somebody is to be told of, one row for each way: 'url' (NOTIFY_URL) or 'command' (NOTIFY_COMMAND).
    CREATE TABLE {SCHEMA}.notifications (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        id uuid NOT NULL,
        channel text NOT NULL CHECK (channel IN ('url', 'command')),
        cause text, -- what is told once, although several processes may find it
        document json NOT NULL, -- as it is sent
        happened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        claimed_by text, -- the process that is sending it, until claimed_until
        claimed_until timestamptz,
        next_try_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        tries integer NOT NULL DEFAULT 0,
        last_error text, -- a code
        delivered_at timestamptz,
        UNIQUE (channel, cause)
    );
    -- What was well, or was not, when a process last looked: only a change is told.
    CREATE TABLE {SCHEMA}.conditions (
        topic text NOT NULL,
        name text NOT NULL,
        is_well boolean NOT NULL,
        since timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (topic, name)
    );
    """,
    f"""
    -- Rehearsals, each with a database of its own that is named after it: see app.state.rehearsals.
    CREATE TABLE {SCHEMA}.rehearsals (
        id text PRIMARY KEY CHECK (id ~ '^[0-9a-f]+$'),
        server text, -- NULL: the target's own
        machine text NOT NULL,
        directory text, -- NULL: it has none
        made boolean NOT NULL DEFAULT false,
        began_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        removed_at timestamptz -- NULL: it lives, or was killed
    );
    """,
    f"""
    -- How many of the answers of a minute that differed had which cause.
    ALTER TABLE {SCHEMA}.comparisons ADD COLUMN causes json NOT NULL DEFAULT '{{}}';
    -- The parts of a cause: each a field with the types of its values.
    ALTER TABLE {SCHEMA}.differences ADD COLUMN places text[] NOT NULL DEFAULT '{{}}';
    -- Places of a field whose differences the owner knows: no gate counts them up to the end of that day, in UTC.
    CREATE TABLE {SCHEMA}.accepted_differences (
        method text NOT NULL,
        field text NOT NULL,
        places text[] NOT NULL,
        until date NOT NULL,
        reason text NOT NULL,
        accepted_by text NOT NULL,
        accepted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (method, field)
    );
    ALTER TABLE {SCHEMA}.moves DROP CONSTRAINT moves_kind_check, ADD CONSTRAINT moves_kind_check
        CHECK (kind IN ('advance', 'back', 'finish', 'forget', 'table', 'accept', 'withdraw'));
    """,
    f"""
    -- How far the sync that is at work has come: see app.state.sync_progress.
    CREATE TABLE {SCHEMA}.sync_progress (
        table_name text PRIMARY KEY,
        rows bigint NOT NULL,
        total bigint NOT NULL,
        seconds double precision NOT NULL,
        began_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        said_at timestamptz NOT NULL DEFAULT clock_timestamp()
    );
    """,
    f"""
    -- The number of the last move, and where it was made: a failover that lost it shows.
    ALTER TABLE {SCHEMA}.stage ADD COLUMN moves bigint NOT NULL DEFAULT 0, ADD COLUMN timeline bigint,
        ADD COLUMN lsn pg_lsn;
    """,
    f"""
    -- What the process says of its reads from standbys: see app.state.cutover.standby_reads.
    ALTER TABLE {SCHEMA}.processes ADD COLUMN standby_reads json;
    """,
    f"""
    -- A failover may have lost what was mirrored since: a sync and a verify prove nothing on another timeline.
    ALTER TABLE {SCHEMA}.synced_tables ADD COLUMN timeline bigint DEFAULT {TIMELINE};
    ALTER TABLE {SCHEMA}.verifications ADD COLUMN timeline bigint DEFAULT {TIMELINE};
    """,
    f"""
    -- Who asked that whatever reads the source waits, and what each command at work does: see app.state.pace.
    CREATE TABLE {SCHEMA}.pauses (
        id integer PRIMARY KEY DEFAULT 1 CHECK (id = 1),
        asked_by text NOT NULL,
        asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        reason text
    );
    CREATE TABLE {SCHEMA}.paces (
        pid integer PRIMARY KEY, -- of the session that says it
        command text NOT NULL,
        max_rate text,
        slowdown double precision NOT NULL,
        held boolean NOT NULL, -- a pause has taken hold
        said_at timestamptz NOT NULL DEFAULT clock_timestamp()
    );
    """,
    f"""
    -- Change streams: see app.state.streams.
    CREATE TABLE {SCHEMA}.streams (
        name text PRIMARY KEY,
        source text NOT NULL,
        server text NOT NULL,
        publication text NOT NULL,
        tables json NOT NULL,
        lsn pg_lsn NOT NULL,
        settled_lsn pg_lsn,
        commit_lsn pg_lsn,
        committed_at timestamptz,
        applied_at timestamptz,
        changes bigint NOT NULL DEFAULT 0
    );
    """,
    f"""
    -- The last moment up to which all that the source had committed is here, and a place in its log that was read then.
    -- A stream whose slot is at the target, and that brings its changes back to the source, has none of them.
    ALTER TABLE {SCHEMA}.streams ADD COLUMN looked_at timestamptz, ADD COLUMN looked_lsn pg_lsn,
        ADD COLUMN reverse boolean NOT NULL DEFAULT false;
    """,
    f"""
    -- What the sync that follows a stream has last seen of it, for those who cannot ask the source.
    ALTER TABLE {SCHEMA}.streams ADD COLUMN lag double precision, ADD COLUMN held bigint, ADD COLUMN to_come bigint,
        ADD COLUMN weighed_at timestamptz;
    """,
)
