"""The tables of runs, as versions 1 and 2 make them: where a copy stands, what was refused, which rows are alike."""

from app.state.schema_name import SCHEMA

RUNS = f"""
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
    """

RANGES_AND_ROW_VERSIONS = f"""
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
    """
