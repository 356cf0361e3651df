-- What every Supabase project finds before its first table: roles, schemas auth, storage, extensions, realtime, vault.
-- Each project begins with it. All belongs to the role that loads it. Loads with psql into an empty database.
SET client_min_messages = error;
DO $$
DECLARE
    api_role text;
BEGIN
    FOREACH api_role IN ARRAY ARRAY['anon', 'authenticated', 'service_role', 'authenticator'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = api_role) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', api_role);
        END IF;
    END LOOP;
    EXECUTE format('ALTER DATABASE %I SET search_path = "$user", public, extensions', current_database());
END
$$;
SET search_path = "$user", public, extensions;

CREATE SCHEMA auth;
CREATE SCHEMA storage;
CREATE SCHEMA extensions;
CREATE SCHEMA realtime;
CREATE SCHEMA vault;
CREATE SCHEMA supabase_migrations;
GRANT USAGE ON SCHEMA public, auth, storage, extensions, realtime TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON SEQUENCES TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON FUNCTIONS TO anon, authenticated, service_role;

-- An extension that the server has not is left out: only vector is needed, and comes with the tests' server.
DO $$
DECLARE
    extension text;
BEGIN
    FOR extension IN
        SELECT name FROM pg_available_extensions WHERE name IN ('vector', 'pgcrypto', 'uuid-ossp', 'pg_stat_statements')
    LOOP
        EXECUTE format('CREATE EXTENSION %I SCHEMA extensions', extension);
    END LOOP;
END
$$;

CREATE TYPE auth.factor_status AS ENUM ('unverified', 'verified');
CREATE TYPE auth.factor_type AS ENUM ('totp', 'webauthn', 'phone');
CREATE TYPE auth.aal_level AS ENUM ('aal1', 'aal2', 'aal3');
CREATE TABLE auth.users (
    instance_id uuid,
    id uuid NOT NULL PRIMARY KEY,
    aud varchar(255),
    role varchar(255),
    email varchar(255),
    encrypted_password varchar(255),
    email_confirmed_at timestamptz,
    invited_at timestamptz,
    confirmation_token varchar(255),
    confirmation_sent_at timestamptz,
    recovery_token varchar(255),
    recovery_sent_at timestamptz,
    email_change_token_new varchar(255),
    email_change varchar(255),
    email_change_sent_at timestamptz,
    last_sign_in_at timestamptz,
    raw_app_meta_data jsonb,
    raw_user_meta_data jsonb,
    is_super_admin boolean,
    created_at timestamptz,
    updated_at timestamptz,
    phone text DEFAULT NULL UNIQUE,
    phone_confirmed_at timestamptz,
    phone_change text DEFAULT '',
    phone_change_token varchar(255) DEFAULT '',
    phone_change_sent_at timestamptz,
    confirmed_at timestamptz GENERATED ALWAYS AS (least(email_confirmed_at, phone_confirmed_at)) STORED,
    email_change_token_current varchar(255) DEFAULT '',
    email_change_confirm_status smallint DEFAULT 0,
    banned_until timestamptz,
    reauthentication_token varchar(255) DEFAULT '',
    reauthentication_sent_at timestamptz,
    is_sso_user boolean NOT NULL DEFAULT false,
    deleted_at timestamptz,
    is_anonymous boolean NOT NULL DEFAULT false,
    CONSTRAINT users_email_change_confirm_status_check CHECK (email_change_confirm_status BETWEEN 0 AND 2)
);
CREATE UNIQUE INDEX confirmation_token_idx ON auth.users (confirmation_token) WHERE confirmation_token::text !~ '^[0-9 ]*$';
CREATE UNIQUE INDEX users_email_partial_key ON auth.users (email) WHERE NOT is_sso_user;
CREATE INDEX users_instance_id_email_idx ON auth.users (instance_id, lower(email::text));
COMMENT ON TABLE auth.users IS 'Whoever can sign in.';
ALTER TABLE auth.users ENABLE ROW LEVEL SECURITY;
CREATE TABLE auth.identities (
    provider_id text NOT NULL,
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    identity_data jsonb NOT NULL,
    provider text NOT NULL,
    last_sign_in_at timestamptz,
    created_at timestamptz,
    updated_at timestamptz,
    email text GENERATED ALWAYS AS (lower(identity_data ->> 'email')) STORED,
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    CONSTRAINT identities_provider_id_provider_unique UNIQUE (provider_id, provider)
);
CREATE INDEX identities_email_idx ON auth.identities (email text_pattern_ops);
ALTER TABLE auth.identities ENABLE ROW LEVEL SECURITY;
CREATE TABLE auth.sessions (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    created_at timestamptz,
    updated_at timestamptz,
    factor_id uuid,
    aal auth.aal_level,
    not_after timestamptz,
    refreshed_at timestamp,
    user_agent text,
    ip inet,
    tag text
);
CREATE INDEX user_id_created_at_idx ON auth.sessions (user_id, created_at);
CREATE TABLE auth.refresh_tokens (
    instance_id uuid,
    id bigserial PRIMARY KEY,
    token varchar(255) UNIQUE,
    user_id varchar(255),
    revoked boolean,
    created_at timestamptz,
    updated_at timestamptz,
    parent varchar(255),
    session_id uuid REFERENCES auth.sessions (id) ON DELETE CASCADE
);
CREATE TABLE auth.mfa_factors (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    friendly_name text,
    factor_type auth.factor_type NOT NULL,
    status auth.factor_status NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    secret text
);
CREATE UNIQUE INDEX mfa_factors_user_friendly_name_unique ON auth.mfa_factors (friendly_name, user_id)
    WHERE trim(BOTH FROM friendly_name) <> '';
CREATE TABLE auth.schema_migrations (version varchar(255) PRIMARY KEY);

CREATE FUNCTION auth.jwt() RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        nullif(current_setting('request.jwt.claim', true), ''), nullif(current_setting('request.jwt.claims', true), '')
    )::jsonb
$$;
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''), auth.jwt() ->> 'sub')::uuid
$$;
CREATE FUNCTION auth.role() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT coalesce(nullif(current_setting('request.jwt.claim.role', true), ''), auth.jwt() ->> 'role')
$$;
CREATE FUNCTION auth.email() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT coalesce(nullif(current_setting('request.jwt.claim.email', true), ''), auth.jwt() ->> 'email')
$$;
COMMENT ON FUNCTION auth.uid() IS 'Who asks; NULL where nobody has signed in.';

CREATE TYPE storage.buckettype AS ENUM ('STANDARD', 'ANALYTICS');
CREATE TABLE storage.buckets (
    id text PRIMARY KEY,
    name text NOT NULL,
    owner uuid,
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now(),
    public boolean DEFAULT false,
    avif_autodetection boolean DEFAULT false,
    file_size_limit bigint,
    allowed_mime_types text[],
    owner_id text,
    type storage.buckettype NOT NULL DEFAULT 'STANDARD'
);
CREATE UNIQUE INDEX bname ON storage.buckets (name);
CREATE TABLE storage.objects (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    bucket_id text,
    name text,
    owner uuid,
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now(),
    last_accessed_at timestamptz DEFAULT now(),
    metadata jsonb,
    path_tokens text[] GENERATED ALWAYS AS (string_to_array(name, '/')) STORED,
    version text,
    owner_id text,
    user_metadata jsonb,
    CONSTRAINT "objects_bucketId_fkey" FOREIGN KEY (bucket_id) REFERENCES storage.buckets (id)
);
CREATE UNIQUE INDEX bucketid_objname ON storage.objects (bucket_id, name);
CREATE INDEX name_prefix_search ON storage.objects (name text_pattern_ops);
ALTER TABLE storage.buckets ENABLE ROW LEVEL SECURITY;
ALTER TABLE storage.objects ENABLE ROW LEVEL SECURITY;
CREATE FUNCTION storage.foldername(name text) RETURNS text[] LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    parts text[] := string_to_array(name, '/');
BEGIN
    RETURN parts[1 : array_length(parts, 1) - 1];
END
$$;
CREATE FUNCTION storage.filename(name text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT (string_to_array(name, '/'))[array_length(string_to_array(name, '/'), 1)]
$$;
GRANT ALL ON storage.buckets, storage.objects TO anon, authenticated, service_role;

CREATE TABLE realtime.messages (
    topic text NOT NULL,
    extension text NOT NULL,
    payload jsonb,
    event text,
    private boolean DEFAULT false,
    updated_at timestamp NOT NULL DEFAULT now(),
    inserted_at timestamp NOT NULL DEFAULT now(),
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    PRIMARY KEY (id, inserted_at)
) PARTITION BY RANGE (inserted_at);
CREATE TABLE realtime.schema_migrations (version bigint PRIMARY KEY, inserted_at timestamp(0));
CREATE FUNCTION realtime.topic() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT nullif(current_setting('realtime.topic', true), '')
$$;
CREATE PUBLICATION supabase_realtime;
CREATE TABLE vault.secrets (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text,
    description text NOT NULL DEFAULT '',
    secret text NOT NULL,
    key_id uuid,
    nonce bytea DEFAULT '\x00',
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE supabase_migrations.schema_migrations (version text PRIMARY KEY, statements text[], name text);
INSERT INTO auth.schema_migrations VALUES ('20240101000000'), ('20240202000000');
INSERT INTO supabase_migrations.schema_migrations VALUES
    ('20240101000000', ARRAY['CREATE TABLE a ()', E'COMMENT ON TABLE a IS ''it''''s''\n'], 'init');

-- Helpers of this session only, with which the projects make their rows.
CREATE FUNCTION pg_temp.uid(n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT ('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid
$$;
CREATE FUNCTION pg_temp.odd(n bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT (ARRAY[
        'plain', 'Привет, «мир»', '', 'it''s "quoted"', E'back\\slash\ttab\r\nline', '😀 👩‍👩‍👧', 'NULL', '\N', '{a,"b",NULL}',
        ' blanks around ', '100% :name $1 %(x)s %s ${y}', E'e\u0301 é', '<b>&amp;</b>', '-- not a comment; SELECT 1', '(a,b)',
        E'\u200f\u0627\u0644 \u4e2d\u6587', '\.', repeat('й', 300)
    ])[1 + n % 18]
$$;
CREATE FUNCTION pg_temp.odd_json(n bigint) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT (ARRAY[
        '{}', 'null', NULL, '[]', '{"a": null, "b": [1.10, 1e400, -0.0]}', '"text \" \\ \u0001"', '12345678901234567890.10',
        '{"имя": "Ё", "😀": {"": []}}', 'true', '[[[]]]'
    ]::jsonb[])[1 + n % 10]
$$;
CREATE FUNCTION pg_temp.odd_moment(n bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE n % 7
        WHEN 0 THEN 'infinity' WHEN 1 THEN '-infinity' WHEN 2 THEN '0044-03-15 12:00:00+00 BC' WHEN 3 THEN NULL
        ELSE '2024-02-29 23:59:59.999999+00'::timestamptz + n * interval '1 day 01:01:01.000001' END
$$;
CREATE FUNCTION pg_temp.odd_number(n bigint) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
    SELECT (ARRAY[0, 0.00, 1.10, -1.1000, 'NaN', NULL, 12345678901234567890.123456789, 1e-20, 1e30]::numeric[])[1 + n % 9]
$$;
-- People sign up as they do in a project: its triggers on auth.users run.
CREATE PROCEDURE pg_temp.sign_up(people integer) LANGUAGE sql AS $$
    INSERT INTO auth.users (instance_id, id, aud, role, email, encrypted_password, email_confirmed_at, confirmation_token,
        raw_app_meta_data, raw_user_meta_data, created_at, updated_at, phone, is_sso_user, is_anonymous)
    SELECT pg_temp.uid(0), pg_temp.uid(n), 'authenticated', 'authenticated', nullif('user' || n || '@example.test', 'user7@example.test'),
        '$2a$10$' || md5(n::text), pg_temp.odd_moment(n), '', '{"provider": "email", "providers": ["email"]}',
        jsonb_build_object('full_name', pg_temp.odd(n), 'more', pg_temp.odd_json(n)), '2024-01-01 00:00:00+00'::timestamptz + n * interval '1 h',
        pg_temp.odd_moment(n + 3), CASE WHEN n % 3 = 0 THEN '7000000000' || n END, n % 5 = 0, n = 7
    FROM generate_series(1, people) n;
    INSERT INTO auth.identities (provider_id, user_id, identity_data, provider, created_at, id)
    SELECT id::text, id, jsonb_build_object('sub', id, 'email', upper(email)), 'email', created_at, md5(id::text)::uuid FROM auth.users;
    INSERT INTO auth.sessions (id, user_id, created_at, aal, refreshed_at, user_agent, ip)
    SELECT md5('session' || n)::uuid, pg_temp.uid(n), pg_temp.odd_moment(n), 'aal1', pg_temp.odd_moment(n)::timestamp, pg_temp.odd(n),
        (ARRAY['10.0.0.1', '::1', '10.0.0.0/8', NULL]::inet[])[1 + n % 4] FROM generate_series(1, people) n;
    INSERT INTO auth.refresh_tokens (token, user_id, revoked, session_id)
    SELECT md5('token' || n), pg_temp.uid(n)::text, n % 2 = 0, md5('session' || n)::uuid FROM generate_series(1, people) n;
$$;
