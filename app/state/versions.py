"""The tables of schema `botdata`, version by version; the first three are in `first_tables`."""

from app.state.first_tables.cutover import CUTOVER
from app.state.first_tables.runs import RANGES_AND_ROW_VERSIONS, RUNS
from app.state.schema_name import SCHEMA
from app.state.wal import TIMELINE

# Each entry is one version and is never changed afterwards; a later version is a new entry.
VERSIONS = (
    RUNS,
    RANGES_AND_ROW_VERSIONS,
    CUTOVER,
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
    -- The schema has moved to another server (see app.state.relocation), and its archive's checksum; NULL: it is not
    -- complete.
    ALTER TABLE {SCHEMA}.stage ADD COLUMN moved_out_at timestamptz, ADD COLUMN archive text;
    ALTER TABLE {SCHEMA}.moves DROP CONSTRAINT moves_kind_check, ADD CONSTRAINT moves_kind_check
        CHECK (kind IN ('advance', 'back', 'finish', 'forget', 'table', 'accept', 'withdraw', 'move-out', 'move-in',
            'cancel'));
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
