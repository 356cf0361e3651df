"""A database as a Supabase project has it, with every kind of item that an inventory tells of.

Supabase's own schemas belong to Supabase's roles. What the user made in them, and beside them, belongs to `postgres`.
"""

from sqlalchemy import ForeignKey, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str | None] = mapped_column(Text)


class Invoice(Base):
    __tablename__ = "invoices"
    __table_args__ = ({"schema": "billing"},)

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int | None] = mapped_column(ForeignKey("orders.id"))


class Lost(Base):
    __tablename__ = "lost"

    id: Mapped[int] = mapped_column(primary_key=True)


ROLES = (
    "supabase_admin", "supabase_auth_admin", "supabase_storage_admin", "anon", "authenticated", "service_role",
)  # fmt: skip

# What only Supabase makes.
SERVICES = """
CREATE SCHEMA auth AUTHORIZATION supabase_auth_admin;
CREATE SCHEMA storage AUTHORIZATION supabase_storage_admin;
CREATE SCHEMA vault AUTHORIZATION supabase_admin;
CREATE SCHEMA cron AUTHORIZATION supabase_admin;
CREATE SCHEMA net AUTHORIZATION supabase_admin;
CREATE SCHEMA realtime AUTHORIZATION supabase_admin;
CREATE SCHEMA supabase_functions AUTHORIZATION supabase_admin;
CREATE SCHEMA extensions;

SET ROLE supabase_auth_admin;
CREATE TABLE auth.users (id uuid PRIMARY KEY, email text);
CREATE TABLE auth.identities (id text PRIMARY KEY, user_id uuid REFERENCES auth.users, provider text);
CREATE TABLE auth.sso_providers (id uuid PRIMARY KEY);
CREATE TABLE auth.sessions (id uuid PRIMARY KEY);
CREATE TABLE auth.made_next_year (id uuid PRIMARY KEY);
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql AS 'SELECT NULL::uuid';
SET ROLE supabase_storage_admin;
CREATE TABLE storage.buckets (id text PRIMARY KEY, name text, public boolean DEFAULT false);
CREATE TABLE storage.objects (id int PRIMARY KEY, bucket_id text REFERENCES storage.buckets, name text, metadata jsonb);
CREATE TABLE storage.buckets_vectors (id text PRIMARY KEY);
CREATE FUNCTION storage.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER touched BEFORE UPDATE ON storage.objects FOR EACH ROW EXECUTE FUNCTION storage.touch();
ALTER TABLE storage.objects ENABLE ROW LEVEL SECURITY;
SET ROLE supabase_admin;
CREATE TABLE vault.secrets (id uuid PRIMARY KEY, name text, secret text, updated_at timestamptz DEFAULT now());
CREATE TABLE cron.job (
    jobid bigint PRIMARY KEY, schedule text, command text, username text DEFAULT CURRENT_USER, active boolean,
    jobname text
);
ALTER TABLE cron.job ENABLE ROW LEVEL SECURITY;
CREATE FUNCTION net.http_post(url text, body jsonb DEFAULT NULL) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint';
CREATE FUNCTION supabase_functions.http_request() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
RESET ROLE;
ALTER DEFAULT PRIVILEGES FOR ROLE supabase_admin IN SCHEMA public GRANT SELECT ON TABLES TO anon;
ALTER DEFAULT PRIVILEGES IN SCHEMA realtime GRANT SELECT ON TABLES TO anon, authenticated;
"""

# What the user made that a target can hold word for word.
APPLICATION = """
CREATE SCHEMA billing;
CREATE TYPE order_state AS ENUM ('new', 'paid');
CREATE TABLE orders (id int PRIMARY KEY, state text);
CREATE INDEX orders_by_state ON orders (state);
CREATE TABLE billing.invoices (id int PRIMARY KEY, order_id int REFERENCES orders);
CREATE VIEW paid AS SELECT id FROM orders WHERE state = 'paid';
CREATE FUNCTION handle_new_user() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER on_order BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION handle_new_user();
"""

# What the user made that the target of the tests lacks.
BESIDE = """
CREATE TYPE money_of AS (amount numeric, code text);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TYPE spans AS RANGE (subtype = int);
CREATE SEQUENCE ticket;
CREATE TABLE "Odd Name" (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind order_state, CHECK (id > 0));
CREATE TABLE lost (id int PRIMARY KEY);
CREATE TABLE days (day date) PARTITION BY RANGE (day);
CREATE TABLE days_rest PARTITION OF days DEFAULT;
CREATE MATERIALIZED VIEW sums AS SELECT count(*) AS n FROM orders;
CREATE FUNCTION price(int) RETURNS int LANGUAGE sql AS 'SELECT $1 + 1';
CREATE PROCEDURE settle() LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM net.http_post('https://user:planted-secret@hooks.example.test/in?key=planted-secret'); RETURN new; END $$;
CREATE TRIGGER tell AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION notify();
CREATE TRIGGER send AFTER INSERT ON "Odd Name" FOR EACH ROW
    EXECUTE FUNCTION supabase_functions.http_request('https://shop.example.test/planted-secret', 'POST', '{}', '{}');
CREATE TRIGGER on_auth_user_created AFTER INSERT ON auth.users FOR EACH ROW EXECUTE FUNCTION handle_new_user();
CREATE FUNCTION auth.company() RETURNS text LANGUAGE sql AS 'SELECT NULL::text';
CREATE POLICY own_files ON storage.objects FOR SELECT TO authenticated USING (bucket_id = 'avatars');
CREATE POLICY own_orders ON orders USING (true);
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
CREATE RULE kept AS ON DELETE TO lost DO INSTEAD NOTHING;
CREATE STATISTICS orders_both ON id, state FROM orders;
CREATE COLLATION by_code FROM "C";
COMMENT ON TABLE orders IS 'what was bought';
COMMENT ON POLICY own_orders ON orders IS 'everybody''s';
CREATE AGGREGATE longest(text) (SFUNC = textcat, STYPE = text);
GRANT SELECT ON orders TO anon;
CREATE CAST (order_state AS int) WITH INOUT;
ALTER DEFAULT PRIVILEGES IN SCHEMA billing GRANT SELECT ON TABLES TO PUBLIC;
CREATE PUBLICATION supabase_realtime FOR TABLE orders;
CREATE PUBLICATION supabase_realtime_messages_publication;
CREATE FUNCTION on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION on_ddl();
CREATE FOREIGN DATA WRAPPER elsewhere;
CREATE SERVER warehouse FOREIGN DATA WRAPPER elsewhere OPTIONS (host 'planted-secret');
CREATE USER MAPPING FOR PUBLIC SERVER warehouse OPTIONS (password 'planted-secret');
CREATE FOREIGN TABLE stock (id int) SERVER warehouse;
SELECT lo_create(70001), lo_create(70002);
INSERT INTO orders VALUES (1, 'new'), (2, 'paid');
INSERT INTO billing.invoices VALUES (1, 2);
INSERT INTO auth.users SELECT md5(n::text)::uuid, 'planted-secret' FROM generate_series(1, 3) n;
INSERT INTO auth.identities SELECT n::text, md5(n::text)::uuid, CASE n WHEN 1 THEN 'google' ELSE 'email' END
    FROM generate_series(1, 3) n;
INSERT INTO auth.sso_providers VALUES (md5('x')::uuid);
INSERT INTO storage.buckets VALUES ('avatars', 'avatars', true), ('empty', 'empty', false);
INSERT INTO storage.objects VALUES (1, 'avatars', 'a', '{"size": 1000}'), (2, 'avatars', 'b', '{"size": 24}'),
    (3, 'avatars', 'c', '{"size": "unknown"}');
INSERT INTO storage.buckets_vectors VALUES ('v');
INSERT INTO cron.job VALUES (1, '0 3 * * *', 'SELECT net.http_post(''https://cron.example.test/planted-secret'')',
    'postgres', true, 'nightly'), (2, '@daily', 'SELECT 1', 'anon', true, 'nightly');
INSERT INTO vault.secrets VALUES (md5('s')::uuid, 'stripe', 'planted-secret');
"""

# Objects of kinds that no question of the inventory tells of.
UNKNOWN = """
CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);
CREATE OPERATOR CLASS plain_ints FOR TYPE int USING btree AS OPERATOR 1 <, OPERATOR 3 =, FUNCTION 1 btint4cmp(int, int);
CREATE TEXT SEARCH CONFIGURATION ours (COPY = simple);
CREATE TEXT SEARCH DICTIONARY our_words (TEMPLATE = simple);
CREATE CONVERSION ours FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
CREATE ACCESS METHOD ours TYPE INDEX HANDLER bthandler;
CREATE TRUSTED LANGUAGE ours HANDLER plpgsql_call_handler;
CREATE TYPE mine;
CREATE FUNCTION mine_in(cstring) RETURNS mine LANGUAGE internal STRICT AS 'textin';
CREATE FUNCTION mine_out(mine) RETURNS cstring LANGUAGE internal STRICT AS 'textout';
CREATE TYPE mine (INPUT = mine_in, OUTPUT = mine_out, LIKE = text);
"""

# Rows that only an extension, or a module that labels objects, would put into the catalogs.
CATALOG_ROWS = """
SET LOCAL allow_system_table_mods = on;
INSERT INTO pg_extension SELECT 50001, 'no_such_extension', 10, 'public'::regnamespace, true, '1.0',
    ARRAY['public.lost'::regclass::oid], ARRAY['']
UNION ALL SELECT 50002, (SELECT min(name) FROM pg_available_extensions WHERE name NOT IN ('plpgsql')), 10,
    'public'::regnamespace, true, '0.0', NULL, NULL;
INSERT INTO pg_seclabel VALUES ('public.orders'::regclass, 'pg_class'::regclass, 0, 'some_module', 'restricted');
"""

SUBSCRIPTION = """
CREATE SUBSCRIPTION other CONNECTION 'host=127.0.0.1 password=planted-secret' PUBLICATION theirs
WITH (connect = false, slot_name = NONE, enabled = false)
"""
