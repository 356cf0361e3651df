"""The tables of the cutover, as version 3 makes them: stage, moves, processes, notes, outbox, what was compared."""

from app.state.schema_name import SCHEMA

CUTOVER = f"""
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
    """
