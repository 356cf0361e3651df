-- A service with many tenants that delivers updates of apps: organisations, members, channels, devices, billing.
-- It leans on Supabase: auth.uid() in its policies, triggers on auth.users, files in storage, vectors in its documents.
-- 39 tables in the schemas public, billing, private and stats. Loads with psql into an empty database.
\ir supabase.sql
CREATE SCHEMA billing;
CREATE SCHEMA private;
CREATE SCHEMA stats;
COMMENT ON SCHEMA public IS 'What the API shows';
COMMENT ON SCHEMA private IS E'What it doesn''t: "keys", back\\slashes, 100%, и ключи';
GRANT USAGE ON SCHEMA billing TO authenticated, service_role;

-- Types
CREATE TYPE public.member_role AS ENUM ('viewer', 'editor', 'admin', 'owner', 'it''s "special"', 'бухгалтер', 'two words');
COMMENT ON TYPE public.member_role IS 'In the order of what one may do; ''viewer'' < ''owner''';
CREATE TYPE public.platform AS ENUM ('ios', 'android', 'web');
CREATE TYPE private.job_state AS ENUM ('queued', 'running', 'done', 'failed');
CREATE TYPE billing.money_amount AS (amount numeric(12, 2), currency char(3));
CREATE TYPE billing.discount AS (label text, share numeric, steps billing.money_amount[]);
CREATE TYPE stats.float_span AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE DOMAIN public.slug AS text CONSTRAINT "slug is lower case" CHECK (VALUE ~ '^[a-z0-9а-яё]+(-[a-z0-9а-яё]+)*$');
CREATE DOMAIN public.short_text AS varchar(40) NOT NULL DEFAULT '';
CREATE DOMAIN public.scopes AS text[] CHECK (cardinality(VALUE) <= 8 AND array_position(VALUE, NULL) IS NULL);
CREATE DOMAIN public.reverse_name AS text COLLATE "C" CHECK (VALUE LIKE '%.%');
COMMENT ON DOMAIN public.slug IS 'A name inside of an address';
COMMENT ON CONSTRAINT "slug is lower case" ON DOMAIN public.slug IS 'Cyrillic too';

-- Functions that tables need
CREATE FUNCTION public.normalise(value text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT lower(regexp_replace(btrim(value), '[^[:alnum:]]+', '-', 'g'))
$$;
-- Calls another function without its schema, as hand-written functions do.
CREATE FUNCTION public.is_normal(value text, strict boolean DEFAULT false) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $fn$
DECLARE
    wanted text := normalise(value);
BEGIN
    -- :wanted is no variable of psql, and 100% is no format
    RETURN value IS NULL OR wanted = value OR NOT strict AND lower(wanted) = lower(value);
END
$fn$;
CREATE FUNCTION public.is_normal(value public.slug) RETURNS boolean LANGUAGE sql IMMUTABLE RETURN public.is_normal(value::text, true);
CREATE FUNCTION private.new_key(prefix text DEFAULT 'sk_', size integer DEFAULT 8) RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT prefix || left(replace(gen_random_uuid()::text, '-', ''), size)
$$;
CREATE SEQUENCE public.ticket_numbers START WITH 1000 INCREMENT BY 10 MINVALUE 1000 MAXVALUE 999990 CACHE 5 CYCLE;
COMMENT ON SEQUENCE public.ticket_numbers IS 'Of no column: functions draw from it';
CREATE SEQUENCE billing.document_numbers AS bigint START 5000;
CREATE FUNCTION public.next_ticket() RETURNS text LANGUAGE sql AS $$
    SELECT 'T-' || to_char(nextval('public.ticket_numbers'), 'FM000000')
$$;

-- People and tenants
CREATE TABLE public.profiles (
    id uuid PRIMARY KEY REFERENCES auth.users (id) ON DELETE CASCADE,
    full_name text,
    avatar text,
    "имя" text COLLATE "C",
    locale varchar(10) NOT NULL DEFAULT 'en',
    metadata jsonb NOT NULL DEFAULT '{}',
    invited_by uuid CONSTRAINT "invited by a person" REFERENCES auth.users (id) ON DELETE SET NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE public.organisations (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    slug public.slug NOT NULL CONSTRAINT organisations_slug_is_normal CHECK (public.is_normal(slug::text, true)),
    name text NOT NULL,
    owner_id uuid REFERENCES auth.users (id),
    default_team bigint,
    settings jsonb DEFAULT '{"theme": "dark"}',
    search tsvector GENERATED ALWAYS AS (to_tsvector('simple', coalesce(name, ''))) STORED,
    search_name text GENERATED ALWAYS AS (public.normalise(name)) STORED,
    trial_until timestamptz DEFAULT (now() + interval '14 days'),
    CONSTRAINT "one slug each" UNIQUE (slug) INCLUDE (name)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
CREATE TABLE public.teams (
    id bigint GENERATED ALWAYS AS IDENTITY (START WITH 100 INCREMENT BY 5) PRIMARY KEY,
    organisation uuid NOT NULL REFERENCES public.organisations (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    parent bigint REFERENCES public.teams (id) ON DELETE SET NULL,
    name public.short_text,
    UNIQUE NULLS NOT DISTINCT (organisation, parent, name)
);
ALTER TABLE public.organisations ADD CONSTRAINT organisations_default_team
    FOREIGN KEY (default_team) REFERENCES public.teams (id) DEFERRABLE INITIALLY DEFERRED;
CREATE TABLE public.memberships (
    organisation uuid REFERENCES public.organisations (id) ON DELETE CASCADE,
    user_id uuid REFERENCES auth.users (id) ON DELETE CASCADE,
    role public.member_role NOT NULL DEFAULT 'viewer',
    joined_at timestamptz DEFAULT now(),
    PRIMARY KEY (organisation, user_id)
);
CREATE TABLE public.team_members (
    team bigint REFERENCES public.teams (id),
    organisation uuid NOT NULL,
    user_id uuid NOT NULL,
    PRIMARY KEY (team, user_id),
    FOREIGN KEY (organisation, user_id) REFERENCES public.memberships (organisation, user_id) ON DELETE CASCADE
);
CREATE TABLE public.invitations (
    id integer GENERATED BY DEFAULT AS IDENTITY (START WITH -5 INCREMENT BY -2 MINVALUE -100000 MAXVALUE -1) PRIMARY KEY,
    organisation uuid NOT NULL REFERENCES public.organisations (id) ON DELETE CASCADE,
    email text NOT NULL,
    role public.member_role NOT NULL DEFAULT 'viewer',
    token text NOT NULL DEFAULT private.new_key('inv_', size => 6),
    expires_at timestamptz,
    CONSTRAINT "e-mail has an @" CHECK (position('@' IN email) > 1) NO INHERIT
);
CREATE UNIQUE INDEX "one open invitation per e-mail" ON public.invitations (organisation, lower(email)) WHERE expires_at > '-infinity';
CREATE TABLE public.api_keys (
    id bigserial PRIMARY KEY,
    organisation uuid NOT NULL REFERENCES public.organisations (id),
    key_hash bytea NOT NULL UNIQUE,
    prefix text NOT NULL DEFAULT private.new_key(),
    allowed public.scopes DEFAULT '{}',
    networks cidr[],
    last_used timestamptz
);
CREATE TABLE public.feature_flags (key text PRIMARY KEY, description text, "default" boolean NOT NULL DEFAULT false, rollout real DEFAULT 0.1);
CREATE TABLE public.flag_overrides (
    flag text REFERENCES public.feature_flags (key) ON UPDATE CASCADE,
    organisation uuid REFERENCES public.organisations (id),
    enabled boolean,
    CONSTRAINT flag_overrides_once UNIQUE NULLS NOT DISTINCT (flag, organisation)
);

-- Apps
CREATE TABLE public.apps (
    id public.reverse_name PRIMARY KEY,
    organisation uuid NOT NULL REFERENCES public.organisations (id) ON UPDATE CASCADE ON DELETE CASCADE,
    name text,
    platforms public.platform[] DEFAULT ARRAY['ios', 'android']::public.platform[],
    icon bytea,
    class text,
    type text,
    info jsonb,
    query text
);
CREATE TABLE public.app_versions (
    id bigint GENERATED BY DEFAULT AS IDENTITY,
    app public.reverse_name NOT NULL REFERENCES public.apps (id) ON DELETE CASCADE,
    version text NOT NULL,
    numbers integer[] GENERATED ALWAYS AS (string_to_array(split_part(version, '-', 1), '.')::integer[]) STORED,
    size bigint CHECK (size >= 0),
    checksum char(8),
    storage_object uuid REFERENCES storage.objects (id) ON DELETE SET NULL,
    released timestamp(3) without time zone,
    PRIMARY KEY (id),
    UNIQUE (app, version) DEFERRABLE
);
CREATE TABLE public.channels (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    app public.reverse_name NOT NULL REFERENCES public.apps (id) ON DELETE CASCADE,
    name text NOT NULL,
    current_version bigint REFERENCES public.app_versions (id),
    is_default boolean NOT NULL DEFAULT false,
    rules jsonb
);
CREATE UNIQUE INDEX channels_one_default ON public.channels (app) INCLUDE (name) WHERE is_default;
CREATE TABLE public.devices (
    app text NOT NULL,
    device_id text NOT NULL,
    platform public.platform,
    version text,
    span stats.float_span,
    seen timestamptz,
    CONSTRAINT devices_pkey PRIMARY KEY (app, device_id)
) PARTITION BY HASH (app, device_id);
CREATE TABLE public.devices_0 PARTITION OF public.devices FOR VALUES WITH (MODULUS 3, REMAINDER 0);
CREATE TABLE public.devices_1 PARTITION OF public.devices FOR VALUES WITH (MODULUS 3, REMAINDER 1) WITH (fillfactor = 90);
CREATE TABLE public.devices_2 PARTITION OF public.devices FOR VALUES WITH (MODULUS 3, REMAINDER 2);
CREATE TABLE public.channel_devices (
    channel uuid REFERENCES public.channels (id) ON DELETE CASCADE,
    app text,
    device_id text,
    PRIMARY KEY (channel, app, device_id),
    CONSTRAINT channel_devices_of_a_device FOREIGN KEY (app, device_id) REFERENCES public.devices (app, device_id)
);

-- Events, by month and then by kind; what fits nowhere goes to the default
CREATE TABLE stats.events (
    id bigint GENERATED BY DEFAULT AS IDENTITY,
    kind text NOT NULL,
    app text,
    at timestamptz NOT NULL,
    payload jsonb,
    ip inet,
    PRIMARY KEY (id, at, kind)
) PARTITION BY RANGE (at);
CREATE TABLE stats.events_2024_01 PARTITION OF stats.events FOR VALUES FROM ('2024-01-01 00:00:00+00') TO ('2024-02-01 00:00:00+00') PARTITION BY LIST (kind);
CREATE TABLE stats.events_2024_01_install PARTITION OF stats.events_2024_01 FOR VALUES IN ('install', 'update');
CREATE TABLE stats."events 2024-01 прочее" PARTITION OF stats.events_2024_01 DEFAULT;
CREATE TABLE stats.events_old PARTITION OF stats.events FOR VALUES FROM (MINVALUE) TO ('2024-01-01 00:00:00+00');
CREATE TABLE stats.events_default PARTITION OF stats.events DEFAULT;
CREATE INDEX events_app_at ON stats.events (app COLLATE "C" DESC NULLS LAST, at);
CREATE INDEX events_at_brin ON stats.events USING brin (at) WITH (pages_per_range = 16);
CREATE TABLE stats.daily_usage (
    organisation uuid,
    day date,
    mau integer DEFAULT 0,
    bandwidth numeric(20, 3),
    storage numeric,
    PRIMARY KEY (day, organisation)
);
CREATE STATISTICS stats.daily_usage_dependencies (dependencies, ndistinct, mcv) ON organisation, day FROM stats.daily_usage;
CREATE STATISTICS stats.daily_usage_expression ON (extract(year FROM day)), mau FROM stats.daily_usage;
COMMENT ON STATISTICS stats.daily_usage_dependencies IS 'A day and its tenant';

-- Documents with vectors
CREATE TABLE public.documents (
    id uuid PRIMARY KEY,
    organisation uuid NOT NULL REFERENCES public.organisations (id),
    title text,
    body text STORAGE EXTERNAL,
    language regconfig DEFAULT 'simple'::regconfig,
    embedding extensions.vector(3),
    half extensions.halfvec(2),
    created_by uuid DEFAULT auth.uid() REFERENCES auth.users (id)
);
ALTER TABLE public.documents ALTER body SET COMPRESSION pglz, ALTER title SET STATISTICS 500, ALTER organisation SET (n_distinct = -0.2);
CREATE INDEX documents_embedding ON public.documents USING hnsw (embedding extensions.vector_cosine_ops) WITH (m = 8, ef_construction = 32);
CREATE INDEX documents_words ON public.documents USING gin (to_tsvector('simple', title || ' ' || coalesce(body, '')));
CREATE TABLE public.chunks (
    document uuid REFERENCES public.documents (id) ON DELETE CASCADE,
    number smallint,
    content text,
    embedding extensions.vector,
    PRIMARY KEY (document, number)
);
CREATE TABLE public.tags (id serial PRIMARY KEY, name text COLLATE "C" UNIQUE, colour char(7));
CREATE TABLE public.document_tags (document uuid REFERENCES public.documents (id), tag integer REFERENCES public.tags (id), PRIMARY KEY (document, tag));
CREATE TABLE public.comments (
    id uuid PRIMARY KEY,
    document uuid REFERENCES public.documents (id),
    reply_to uuid REFERENCES public.comments (id) DEFERRABLE INITIALLY IMMEDIATE,
    author uuid DEFAULT auth.uid() REFERENCES public.profiles (id),
    body text NOT NULL,
    at timestamptz DEFAULT now()
);
CREATE TABLE public.reactions (comment uuid REFERENCES public.comments (id), user_id uuid, emoji text);
CREATE INDEX reactions_hash ON public.reactions USING hash (emoji);
ALTER TABLE public.reactions REPLICA IDENTITY FULL;

-- Messages and hooks
CREATE TABLE public.notifications (
    id bigint PRIMARY KEY DEFAULT nextval('public.ticket_numbers'),
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    ticket text DEFAULT public.next_ticket(),
    title text,
    data jsonb,
    read_at timestamptz,
    priority "char" DEFAULT 'n'
);
CREATE INDEX notifications_unread ON public.notifications (user_id, priority DESC NULLS LAST) WHERE read_at IS NULL;
CREATE INDEX notifications_data ON public.notifications USING gin (data jsonb_path_ops);
CREATE TABLE public.notification_settings (user_id uuid PRIMARY KEY REFERENCES auth.users (id), quiet int4range[], muted interval, at_time timetz);
CREATE TABLE public.webhooks (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organisation uuid REFERENCES public.organisations (id),
    url text CONSTRAINT "https only, 100%" CHECK (url LIKE 'https://%'),
    events text[] NOT NULL DEFAULT '{}',
    headers jsonb
);
CREATE TABLE public.webhook_deliveries (webhook uuid REFERENCES public.webhooks (id), status smallint, body text, at timestamptz DEFAULT now());

-- What nobody but the service sees
CREATE TABLE private.journal (id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), "table" text, who uuid, before jsonb, after jsonb);
CREATE TABLE private.journal_2023 (CHECK (at < '2024-01-01 00:00:00+00')) INHERITS (private.journal);
ALTER TABLE private.journal_2023 ADD PRIMARY KEY (id);
CREATE TABLE private.journal_2022 (archived boolean DEFAULT true, PRIMARY KEY (id)) INHERITS (private.journal_2023);
CREATE TABLE private.jobs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state private.job_state NOT NULL DEFAULT 'queued',
    payload json,
    attempts smallint DEFAULT 0,
    run_after timestamptz DEFAULT now(),
    error text
);
CREATE TABLE private.locks (name text PRIMARY KEY, until timestamptz, lsn pg_lsn, snapshot pg_snapshot);
CREATE TABLE private.counters (name text PRIMARY KEY, value bigint NOT NULL DEFAULT 0, changed integer DEFAULT 0);
CREATE UNLOGGED TABLE private.rate_limits (ip inet, bucket text, hits integer, PRIMARY KEY (ip, bucket));

-- Billing
CREATE TABLE billing.plans (
    code text PRIMARY KEY, name text, price billing.money_amount NOT NULL, discounts billing.discount[], active daterange DEFAULT daterange(CURRENT_DATE, NULL)
);
CREATE TABLE billing.customers (organisation uuid PRIMARY KEY REFERENCES public.organisations (id), external_id text UNIQUE, balance money DEFAULT 0, address text);
CREATE TABLE billing.subscriptions (
    id bigint PRIMARY KEY DEFAULT nextval('billing.document_numbers'),
    organisation uuid NOT NULL REFERENCES billing.customers (organisation),
    plan text NOT NULL REFERENCES billing.plans (code) MATCH FULL ON UPDATE CASCADE,
    period tstzrange NOT NULL,
    seats integer DEFAULT 1,
    CONSTRAINT "periods of one kind do not overlap" EXCLUDE USING gist (period WITH &&, int4range(seats, seats, '[]') WITH =) WHERE (seats > 0)
);
CREATE TABLE billing.invoices (
    id bigint PRIMARY KEY DEFAULT nextval('billing.document_numbers'),
    subscription bigint REFERENCES billing.subscriptions (id),
    total billing.money_amount,
    lines billing.money_amount[],
    issued date DEFAULT CURRENT_DATE,
    paid boolean
);
ALTER SEQUENCE billing.document_numbers OWNED BY billing.invoices.id;
CREATE TABLE billing.invoice_lines (
    invoice bigint, number integer, description text, quantity numeric(10, 3), price numeric, net numeric GENERATED ALWAYS AS (quantity * price) STORED,
    PRIMARY KEY (invoice, number)
);
CREATE TABLE billing.credit_notes (LIKE billing.invoices INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES);
ALTER TABLE billing.credit_notes ADD reason text, ADD CONSTRAINT credit_notes_subscription FOREIGN KEY (subscription) REFERENCES billing.subscriptions (id) NOT VALID;

-- Who may what. A function with the owner's rights keeps policies from asking themselves.
CREATE FUNCTION private.role_in(organisation_id uuid, person uuid DEFAULT auth.uid()) RETURNS public.member_role
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT m.role FROM public.memberships m WHERE m.organisation = organisation_id AND m.user_id = person
$$;
CREATE FUNCTION private.may(organisation_id uuid, least_role public.member_role) RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = '' SET statement_timeout = '5s' AS $function$
DECLARE
    held public.member_role := private.role_in(organisation_id);
BEGIN
    IF auth.role() = 'service_role' THEN
        RETURN true;
    END IF;
    RETURN coalesce(held >= least_role, false);
END;
$function$;
REVOKE ALL ON FUNCTION private.may(uuid, public.member_role) FROM PUBLIC;
GRANT USAGE ON SCHEMA private TO authenticated;
GRANT EXECUTE ON FUNCTION private.may(uuid, public.member_role) TO authenticated, service_role;
CREATE FUNCTION private.may(app_id text) RETURNS boolean LANGUAGE sql STABLE BEGIN ATOMIC
    SELECT EXISTS (SELECT FROM public.apps a WHERE a.id = app_id AND private.may(a.organisation, 'viewer'));
END;
DO $$
DECLARE
    tenant text;
BEGIN
    FOREACH tenant IN ARRAY ARRAY['teams', 'memberships', 'invitations', 'api_keys', 'apps', 'documents', 'webhooks'] LOOP
        EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', tenant);
        EXECUTE format('CREATE POLICY "Members see %1$s" ON public.%1$I FOR SELECT TO authenticated USING (private.may(organisation, ''viewer''))', tenant);
        EXECUTE format('CREATE POLICY "Editors add to %1$s" ON public.%1$I FOR INSERT TO authenticated WITH CHECK (private.may(organisation, ''editor''))', tenant);
    END LOOP;
END
$$;
ALTER TABLE public.organisations ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.organisations FORCE ROW LEVEL SECURITY;
ALTER TABLE public.profiles ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.notifications ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.devices ENABLE ROW LEVEL SECURITY;
CREATE POLICY "One's own organisations" ON public.organisations USING (owner_id = (SELECT auth.uid()) OR private.may(id, 'viewer')) WITH CHECK (owner_id = auth.uid());
CREATE POLICY "Profiles are public" ON public.profiles FOR SELECT TO anon, authenticated USING (true);
CREATE POLICY "изменить себя" ON public.profiles FOR UPDATE TO authenticated USING (auth.uid() = id) WITH CHECK (auth.uid() = id AND locale <> '%');
CREATE POLICY "Delete one's own" ON public.notifications FOR DELETE USING (user_id = auth.uid());
CREATE POLICY "Signed in twice" ON public.api_keys AS RESTRICTIVE FOR ALL TO authenticated USING ((auth.jwt() ->> 'aal') = 'aal2');
CREATE POLICY "Devices of one's apps" ON public.devices FOR SELECT USING (private.may(app));
COMMENT ON POLICY "Signed in twice" ON public.api_keys IS 'A second factor';
CREATE POLICY "Avatars are public" ON storage.objects FOR SELECT USING (bucket_id = 'avatars');
CREATE POLICY "One's own folder" ON storage.objects FOR INSERT TO authenticated
    WITH CHECK (bucket_id = 'avatars' AND (storage.foldername(name))[1] = (SELECT auth.uid())::text);
REVOKE ALL ON public.api_keys FROM anon;
GRANT SELECT (id, prefix), UPDATE (allowed) ON public.api_keys TO authenticated;
GRANT SELECT ON ALL TABLES IN SCHEMA billing TO service_role WITH GRANT OPTION;

-- Triggers
CREATE FUNCTION public.handle_new_user() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path TO 'public' AS $$
BEGIN
    INSERT INTO profiles (id, full_name, metadata)
    VALUES (new.id, new.raw_user_meta_data ->> 'full_name', coalesce(new.raw_user_meta_data, '{}'))
    ON CONFLICT (id) DO NOTHING;
    RETURN new;
END
$$;
CREATE TRIGGER on_auth_user_created AFTER INSERT ON auth.users FOR EACH ROW EXECUTE FUNCTION public.handle_new_user();
CREATE FUNCTION public.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN new.updated_at := clock_timestamp(); RETURN new; END';
CREATE TRIGGER "touch, when it changed" BEFORE UPDATE ON public.profiles FOR EACH ROW
    WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION public.touch();
COMMENT ON TRIGGER "touch, when it changed" ON public.profiles IS 'Not at each write';
CREATE FUNCTION private.owner_is_member() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    IF new.owner_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM public.memberships WHERE organisation = new.id AND user_id = new.owner_id AND role = 'owner'::public.member_role
    ) THEN
        RAISE EXCEPTION 'organisation % has an owner who is no member: %', new.id, new.owner_id
            USING ERRCODE = 'check_violation', HINT = format('insert into %I.%I first', TG_TABLE_SCHEMA, 'memberships');
    END IF;
    RETURN NULL;
END
$body$;
CREATE CONSTRAINT TRIGGER owner_is_member AFTER INSERT OR UPDATE OF owner_id ON public.organisations
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION private.owner_is_member();
CREATE FUNCTION private.count_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO private.counters AS c (name, value, changed) SELECT TG_ARGV[0], count(*), 1 FROM added
    ON CONFLICT (name) DO UPDATE SET value = c.value + excluded.value, changed = c.changed + 1;
    RETURN NULL;
END
$$;
CREATE TRIGGER count_comments AFTER INSERT ON public.comments REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION private.count_rows('comments, it''s');
CREATE FUNCTION private.journal_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO private.journal ("table", who, before, after)
    VALUES (TG_TABLE_NAME, auth.uid(), CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(old) END, CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(new) END);
    RETURN coalesce(new, old);
END
$$;
CREATE TRIGGER journal_update AFTER UPDATE OR DELETE ON public.apps FOR EACH ROW EXECUTE FUNCTION private.journal_change();
CREATE TRIGGER journal_memberships AFTER INSERT OR UPDATE OR DELETE ON public.memberships FOR EACH ROW EXECUTE FUNCTION private.journal_change();
ALTER TABLE public.memberships DISABLE TRIGGER journal_memberships;
CREATE FUNCTION stats.check_kind() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.kind := lower(new.kind); RETURN new; END $$;
CREATE TRIGGER lower_kind BEFORE INSERT ON stats.events FOR EACH ROW WHEN (new.kind <> lower(new.kind)) EXECUTE FUNCTION stats.check_kind();
CREATE RULE "flags stay" AS ON DELETE TO public.feature_flags DO INSTEAD NOTHING;
COMMENT ON RULE "flags stay" ON public.feature_flags IS 'Old apps ask for them';

-- Views
CREATE VIEW public.my_organisations WITH (security_invoker = true) AS
    SELECT o.*, m.role FROM public.organisations o JOIN public.memberships m ON m.organisation = o.id WHERE m.user_id = auth.uid();
CREATE VIEW public.my_admin_organisations WITH (security_invoker, security_barrier) AS
    SELECT id, slug, name FROM public.my_organisations WHERE role >= 'admin' WITH LOCAL CHECK OPTION;
CREATE VIEW public.open_notifications (person, title, "how many") AS
    SELECT user_id, title, count(*) OVER (PARTITION BY user_id) FROM public.notifications WHERE read_at IS NULL;
CREATE MATERIALIZED VIEW stats.events_by_app AS SELECT app, kind, count(*) AS n, max(at) AS last FROM stats.events GROUP BY app, kind;
CREATE UNIQUE INDEX events_by_app_key ON stats.events_by_app (app, kind) NULLS NOT DISTINCT;
CREATE MATERIALIZED VIEW stats.events_total AS SELECT app, sum(n) AS n FROM stats.events_by_app GROUP BY app WITH NO DATA;
COMMENT ON MATERIALIZED VIEW stats.events_total IS 'On top of events_by_app';
GRANT SELECT ON stats.events_by_app TO service_role;

-- Functions of the API
CREATE FUNCTION public.similar_documents(wanted extensions.vector, "limit" integer DEFAULT 5, OUT document uuid, OUT distance double precision)
    RETURNS SETOF record LANGUAGE plpgsql STABLE SET search_path = public, extensions AS $$
BEGIN
    RETURN QUERY SELECT d.id, d.embedding <=> wanted FROM documents d WHERE d.embedding IS NOT NULL ORDER BY d.embedding <=> wanted LIMIT "limit";
END
$$;
CREATE PROCEDURE private.run_jobs(INOUT done integer DEFAULT 0, VARIADIC kinds text[] DEFAULT '{}') LANGUAGE plpgsql AS $$
DECLARE
    job private.jobs%ROWTYPE;
    state private.jobs.state%TYPE := 'running';
BEGIN
    FOR job IN SELECT * FROM private.jobs j WHERE j.state = 'queued' FOR UPDATE SKIP LOCKED LOOP
        UPDATE private.jobs j SET state = 'done' WHERE j.id = job.id;
        done := done + 1;
        COMMIT;
    END LOOP;
END
$$;
CREATE AGGREGATE stats.longest(text) (SFUNC = pg_catalog.textcat, STYPE = text, INITCOND = '');
COMMENT ON AGGREGATE stats.longest(text) IS 'Joins them';
CREATE FUNCTION public.accept_invitation(token text) RETURNS SETOF public.memberships LANGUAGE sql SECURITY DEFINER ROWS 1 COST 200 SET search_path = '' AS $_$
    INSERT INTO public.memberships (organisation, user_id, role)
    SELECT organisation, auth.uid(), role FROM public.invitations i WHERE i.token = $1 RETURNING *
$_$;
ALTER PUBLICATION supabase_realtime ADD TABLE public.notifications, public.comments (id, body), TABLE public.reactions WHERE (emoji IS NOT NULL);
COMMENT ON TABLE public.organisations IS E'A tenant: "quotes", it''s back\\slash, 100 %, :name, Ёлка 🎄\nand a second line';
COMMENT ON COLUMN public.organisations.settings IS 'Anything; {"theme": ...}';
COMMENT ON COLUMN public.profiles."имя" IS 'имя, как в паспорте';
COMMENT ON CONSTRAINT "one slug each" ON public.organisations IS '100% its own';
COMMENT ON INDEX public.channels_one_default IS 'One per app';
COMMENT ON FUNCTION public.is_normal(text, boolean) IS 'Of two of this name; $$ and $fn$';
COMMENT ON VIEW public.my_organisations IS 'Whoever asks';

-- Rows
CALL pg_temp.sign_up(12);
INSERT INTO vault.secrets (id, name, secret) SELECT pg_temp.uid(n), 'secret ' || n, md5(n::text) FROM generate_series(1, 3) n;
INSERT INTO storage.buckets (id, name, public, allowed_mime_types) VALUES ('avatars', 'avatars', true, '{image/*}'), ('versions', 'versions', false, NULL);
INSERT INTO storage.objects (id, bucket_id, name, owner, metadata)
    SELECT pg_temp.uid(n), (ARRAY['avatars', 'versions'])[1 + n % 2], pg_temp.uid(n) || '/файл ' || n || '.png', pg_temp.uid(n), pg_temp.odd_json(n) FROM generate_series(1, 12) n;
UPDATE public.profiles SET "имя" = pg_temp.odd(length(full_name)), invited_by = pg_temp.uid(1) WHERE id > pg_temp.uid(3);
BEGIN;
INSERT INTO public.organisations (id, slug, name, owner_id, settings, default_team, trial_until)
    SELECT pg_temp.uid(100 + n), 'org-' || n, pg_temp.odd(n), CASE WHEN n % 2 = 0 THEN pg_temp.uid(n) END, pg_temp.odd_json(n), 95 + 5 * n, pg_temp.odd_moment(n) FROM generate_series(1, 10) n;
INSERT INTO public.memberships (organisation, user_id, role, joined_at)
    SELECT pg_temp.uid(100 + o), pg_temp.uid(n), CASE WHEN o = n THEN 'owner' ELSE (enum_range(NULL::public.member_role))[1 + n % 7] END, pg_temp.odd_moment(o + n) FROM generate_series(1, 10) o, generate_series(1, 12) n;
INSERT INTO public.teams (organisation, parent, name) SELECT pg_temp.uid(100 + n), CASE WHEN n > 5 THEN 75 + 5 * n END, left(pg_temp.odd(n), 40) FROM generate_series(1, 10) n;
COMMIT;
INSERT INTO public.team_members SELECT t.id, t.organisation, pg_temp.uid(n) FROM public.teams t, generate_series(1, 4) n;
INSERT INTO public.invitations (organisation, email, role, token, expires_at) SELECT pg_temp.uid(100 + n % 10 + 1), 'Guest' || n || '@example.test', 'two words', 'inv_' || n, pg_temp.odd_moment(n) FROM generate_series(0, 30) n;
INSERT INTO public.api_keys (organisation, key_hash, prefix, allowed, networks, last_used)
    SELECT pg_temp.uid(100 + n), decode(md5(n::text), 'hex'), 'sk_' || n, CASE n % 4 WHEN 0 THEN '{}' WHEN 1 THEN ARRAY['read', pg_temp.odd(n)] END, CASE WHEN n % 2 = 0 THEN '{10.0.0.0/8,NULL,2001:db8::/32}'::cidr[] END, pg_temp.odd_moment(n) FROM generate_series(1, 10) n;
INSERT INTO public.feature_flags SELECT pg_temp.odd(n), pg_temp.odd(n + 1), n % 2 = 0, CASE n WHEN 1 THEN 'NaN' WHEN 2 THEN '-Infinity' ELSE n / 7.0 END FROM generate_series(0, 17) n;
INSERT INTO public.flag_overrides SELECT pg_temp.odd(n), CASE WHEN n > 0 THEN pg_temp.uid(100 + n) END, CASE WHEN n % 3 > 0 THEN n % 3 = 1 END FROM generate_series(0, 10) n;
INSERT INTO public.flag_overrides VALUES (NULL, NULL, NULL);
INSERT INTO public.apps SELECT 'test.example.app' || n, pg_temp.uid(101 + n % 10), pg_temp.odd(n), CASE n % 3 WHEN 0 THEN '{}' WHEN 1 THEN '{web,ios}' END::public.platform[], decode(lpad(to_hex(n), 4, '0'), 'hex'), 'c', pg_temp.odd(n), pg_temp.odd_json(n), 'q' FROM generate_series(1, 20) n;
INSERT INTO public.app_versions (app, version, size, checksum, storage_object, released)
    SELECT 'test.example.app' || a, '1.' || n || '.0-β', 9000000000 * n, 'ab' || n, CASE WHEN n < 3 THEN pg_temp.uid(a % 12 + 1) END, pg_temp.odd_moment(n) FROM generate_series(1, 20) a, generate_series(1, 4) n;
INSERT INTO public.channels SELECT pg_temp.uid(n), 'test.example.app' || (1 + n / 2), pg_temp.odd(n), n, n % 2 = 0, pg_temp.odd_json(n) FROM generate_series(1, 38) n;
INSERT INTO public.devices SELECT 'test.example.app' || (1 + n % 5), 'device ' || n, (enum_range(NULL::public.platform))[1 + n % 4], pg_temp.odd(n), CASE n % 3 WHEN 0 THEN 'empty' WHEN 1 THEN stats.float_span(0.1 * n, 0.1 * n + 0.2) END, pg_temp.odd_moment(n) FROM generate_series(1, 150) n;
INSERT INTO public.channel_devices SELECT pg_temp.uid(1 + n % 10), app, device_id FROM public.devices, generate_series(1, 2) n WHERE device_id LIKE '%7';
INSERT INTO stats.events (kind, app, at, payload, ip)
    SELECT (ARRAY['install', 'update', 'ОШИБКА', 'Crash'])[1 + n % 4], 'test.example.app' || (n % 5), coalesce(pg_temp.odd_moment(n), '2024-01-15 12:00:00+00'::timestamptz + n * interval '1 h'), pg_temp.odd_json(n), CASE WHEN n % 2 = 0 THEN '::ffff:10.0.0.1'::inet END FROM generate_series(1, 200) n;
INSERT INTO stats.daily_usage SELECT pg_temp.uid(100 + n % 10), (ARRAY['infinity', '-infinity', '0044-03-15 BC', '2024-02-29', '9999-12-31']::date[])[1 + n % 5], n, n / 3.0, pg_temp.odd_number(n) FROM generate_series(0, 9) n;
INSERT INTO public.documents (id, organisation, title, body, language, embedding, half, created_by)
    SELECT pg_temp.uid(n), pg_temp.uid(101 + n % 10), pg_temp.odd(n), repeat(pg_temp.odd(n + 1), 20), CASE n % 2 WHEN 0 THEN 'russian' ELSE 'simple' END::regconfig, CASE WHEN n % 5 > 0 THEN ('[' || n || ',0.1,-1e-10]')::extensions.vector END, '[1,65504]', CASE WHEN n < 10 THEN pg_temp.uid(n) END FROM generate_series(1, 30) n;
INSERT INTO public.chunks SELECT d.id, n, pg_temp.odd(n), ('[' || n || ']')::extensions.vector FROM public.documents d, generate_series(-2, 2) n;
INSERT INTO public.tags (name, colour) SELECT pg_temp.odd(n), '#' || n FROM generate_series(0, 17) n;
INSERT INTO public.document_tags SELECT d.id, t.id FROM public.documents d, public.tags t WHERE t.id % 6 = 0;
INSERT INTO public.comments (id, document, reply_to, author, body, at) SELECT pg_temp.uid(n), pg_temp.uid(1 + n % 30), CASE WHEN n > 3 THEN pg_temp.uid(n / 2) END, pg_temp.uid(1 + n % 12), pg_temp.odd(n), pg_temp.odd_moment(n) FROM generate_series(1, 60) n;
INSERT INTO public.reactions SELECT pg_temp.uid(1 + n % 60), pg_temp.uid(1 + n % 12), (ARRAY['👍', NULL, '❤️'])[1 + n % 3] FROM generate_series(1, 130) n;
INSERT INTO public.notifications (user_id, title, data, read_at, priority) SELECT pg_temp.uid(1 + n % 12), pg_temp.odd(n), pg_temp.odd_json(n), pg_temp.odd_moment(n), (ARRAY['h', 'n', ''])[1 + n % 3]::"char" FROM generate_series(1, 60) n;
INSERT INTO public.notification_settings SELECT pg_temp.uid(n), CASE n % 3 WHEN 0 THEN '{}' WHEN 1 THEN '{"[1,5)",empty,NULL,"(,)"}' END::int4range[], (ARRAY['1 mon', '30 days', '-1 year 2 days 03:04:05.6', NULL]::interval[])[1 + n % 4], '23:59:60+03' FROM generate_series(1, 12) n;
INSERT INTO public.webhooks SELECT pg_temp.uid(n), pg_temp.uid(100 + n), 'https://example.test/' || pg_temp.odd(n), CASE WHEN n % 2 = 0 THEN ARRAY[pg_temp.odd(n), NULL] ELSE '{}' END, pg_temp.odd_json(n) FROM generate_series(1, 10) n;
INSERT INTO public.webhook_deliveries SELECT pg_temp.uid(1 + n % 10), 200, pg_temp.odd(n % 3), '2024-01-01 00:00:00+00' FROM generate_series(1, 40) n;
UPDATE public.apps SET query = query || ' 2' WHERE id LIKE '%1';
INSERT INTO private.journal_2023 (at, "table", before) SELECT '2023-06-01 00:00:00+00', 'apps', pg_temp.odd_json(n) FROM generate_series(1, 10) n;
INSERT INTO private.journal_2022 (at, "table", archived) SELECT '2022-06-01 00:00:00+00', pg_temp.odd(n), NULL FROM generate_series(1, 10) n;
INSERT INTO private.jobs (state, payload, error) SELECT (enum_range(NULL::private.job_state))[1 + n % 4], '{"a" : 1.10,  "a": 2}', CASE WHEN n % 2 = 0 THEN '<e a="1">й</e>' END FROM generate_series(1, 30) n;
INSERT INTO private.locks SELECT pg_temp.odd(n), pg_temp.odd_moment(n), '16/B374D848', '10:20:10,14,15' FROM generate_series(1, 5) n;
INSERT INTO private.rate_limits SELECT '10.0.0.0/8'::inet + n, pg_temp.odd(n), n FROM generate_series(1, 9) n;
INSERT INTO billing.plans SELECT 'p' || n, pg_temp.odd(n), ROW(n * 10, 'EUR')::billing.money_amount, CASE n % 3 WHEN 0 THEN '{}' WHEN 1 THEN ARRAY[ROW(pg_temp.odd(n), 0.10, ARRAY[ROW(1.5, NULL), NULL]::billing.money_amount[])::billing.discount, NULL] END, CASE WHEN n % 2 = 0 THEN 'empty' ELSE '[2024-01-01,infinity)' END::daterange FROM generate_series(1, 18) n;
INSERT INTO billing.customers SELECT pg_temp.uid(100 + n), pg_temp.odd(n), n * 1.25, CASE WHEN n % 2 = 0 THEN '<a>ул. 1</a>' END FROM generate_series(1, 10) n;
INSERT INTO billing.subscriptions (organisation, plan, period, seats) SELECT pg_temp.uid(100 + n), 'p' || n, CASE n WHEN 1 THEN 'empty'::tstzrange WHEN 2 THEN '[-infinity,infinity]' ELSE tstzrange('2024-01-01 00:00:00+00', NULL) END, n FROM generate_series(1, 10) n;
INSERT INTO billing.invoices (subscription, total, lines, issued, paid) SELECT s.id, ROW(pg_temp.odd_number(n % 5), 'EUR')::billing.money_amount, CASE WHEN n % 2 = 0 THEN ARRAY[ROW(1, 'EUR'), ROW(NULL, NULL)]::billing.money_amount[] END, '2024-01-31', n % 2 = 0 FROM billing.subscriptions s, generate_series(1, 3) n;
INSERT INTO billing.invoice_lines SELECT i.id, n, pg_temp.odd(n), n * 1.5, pg_temp.odd_number(n) FROM billing.invoices i, generate_series(1, 4) n;
INSERT INTO billing.credit_notes (subscription, reason) SELECT id, pg_temp.odd(id) FROM billing.subscriptions;
REFRESH MATERIALIZED VIEW stats.events_by_app;
