-- What a stranger's schema holds: names, texts and expressions that a file, Python, SQLAlchemy or Alembic takes for
-- something else, and expressions that PostgreSQL itself writes otherwise once it has read them back.
CREATE SCHEMA "Odd: %s ""Schema"".x";
CREATE TABLE "Odd: %s ""Schema"".x"."t.t" ("a.b" int PRIMARY KEY, "c.d" int UNIQUE REFERENCES "Odd: %s ""Schema"".x"."t.t" ("a.b"));
CREATE TABLE refers (id int PRIMARY KEY, x int REFERENCES "Odd: %s ""Schema"".x"."t.t" ("c.d"));
CREATE TABLE pg (
    id int PRIMARY KEY, _sa_instance_state text, _sa_registry text, _sa_class_manager text, __tablename__ text, l int,
    "I" int, "Post" text, post text, sa text DEFAULT 'dt.date pg.ENUM Range[int]', query text, "TYPE_CHECKING" text, "None" int,
    "😀" text, "İ" int, "ı" int, "a_b" int, "a b" int, "a-b" int
);
CREATE TABLE "Post" (id int PRIMARY KEY, pg_id int REFERENCES pg, "Pg" int REFERENCES pg, "Post" int REFERENCES "Post");
CREATE TABLE post (id int PRIMARY KEY REFERENCES post (id));
CREATE TABLE "I" (id int PRIMARY KEY); CREATE TABLE "Base" (id int PRIMARY KEY);
CREATE TABLE U&"tab\0009 new\000Aline" (U&"cr\000D\000A" int PRIMARY KEY, v text);
CREATE TYPE nothing AS ENUM ();
CREATE TYPE mood AS ENUM ('a', E'b\r\n\t');
CREATE DOMAIN moody AS mood DEFAULT 'a';
CREATE DOMAIN state AS varchar CHECK (VALUE IN ('a', 'b'));
CREATE TYPE span AS RANGE (subtype = float8);
CREATE TABLE texts (
    id int PRIMARY KEY, n nothing, m moody, s state, r span,
    a text DEFAULT ':ab: %s :cd', b text DEFAULT '\:x', c text DEFAULT '\: y', d text DEFAULT ' :y: ', e text DEFAULT E'\r\n\t',
    f text GENERATED ALWAYS AS (lower(a) || ' :ab: ' || '\:') STORED
);
CREATE INDEX on_text ON texts (lower(a || ':x'), (b || ' :y %s'));
CREATE TABLE orders (
    id int PRIMARY KEY, status varchar(10) NOT NULL CHECK (status IN ('a', 'b')),
    tags text[] DEFAULT ARRAY['x']::varchar[]::text[],
    open bool GENERATED ALWAYS AS (status IN ('a', 'c')) STORED,
    EXCLUDE USING btree (id WITH =) WHERE (status IN ('a', 'b'))
);
CREATE TABLE heirs (x int) INHERITS (orders);
CREATE TABLE parted (id int, s varchar CHECK (s IN ('q', 'r')) DEFAULT 'q') PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (1) TO (5);
CREATE INDEX ON parted (id) WHERE s IN ('q', 'z');
CREATE INDEX of_open ON orders (tags) WHERE status IN ('a', 'b');
CREATE STATISTICS related ON (status IN ('a', 'b')), id FROM orders;
CREATE POLICY "see: on %s on all" ON orders USING (status IN ('a', 'b')) WITH CHECK (status IN ('a', 'c'));
CREATE FUNCTION windows() RETURNS trigger LANGUAGE plpgsql AS E'\r\nBEGIN\r\n\tRETURN new; -- :x %s\r\nEND\r\n';
CREATE TRIGGER checked BEFORE UPDATE ON orders FOR EACH ROW WHEN (new.status IN ('a', 'b')) EXECUTE FUNCTION windows();
CREATE MATERIALIZED VIEW several AS SELECT id, status FROM orders WHERE status IN ('a', 'b');
CREATE VIEW more AS SELECT several.* FROM several WHERE status IN ('a', 'c');
CREATE MATERIALIZED VIEW most AS SELECT more.* FROM more WHERE status IN ('a', 'd');
