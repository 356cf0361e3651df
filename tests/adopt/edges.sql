-- Tables at the edges of what a project can hold: names that SQL, Python or an address takes for something else, keys of
-- every kind, types without a form in Python, and what hangs on tables. About 1,000 rows.
CREATE SCHEMA auth;
CREATE TABLE auth.users (id uuid PRIMARY KEY);
INSERT INTO auth.users SELECT md5(n::text)::uuid FROM generate_series(1, 5) n;
CREATE TABLE spoken ("order" int PRIMARY KEY, "select" text, "limit" int, "and" int, "x.y" text, "x:y" text, "->>" int);
INSERT INTO spoken SELECT n, 's', n, n, 'dot', 'colon', n FROM generate_series(1, 300) n;
CREATE TABLE by_text (k text PRIMARY KEY, v int);
INSERT INTO by_text SELECT v, ord FROM unnest(ARRAY[
    '', 'null', 'NULL', ' before', 'after ', 'a,b', '"', '\', 'q''s', '*', '{x}', '(1)', '%41', '+', 'a&b=c', '#', '..',
    'ёж', 'é', E'e\u0301', '😀', E'tab\t', E'line\n']) WITH ORDINALITY AS t (v, ord);
CREATE TABLE by_float (k double precision PRIMARY KEY, v text);
INSERT INTO by_float VALUES (0.1, 'a'), (0.1 + 0.2, 'b'), ('Infinity', 'c'), ('-Infinity', 'd'), ('NaN', 'e'), (1e-320, 'f');
CREATE TABLE by_number (k numeric PRIMARY KEY, v numeric(8, 3));
INSERT INTO by_number VALUES (1.10, 1.5), ('NaN', NULL), (98765432109876543210.5, 0.001);
CREATE TABLE by_moment (k timestamptz PRIMARY KEY, d date, s timestamp(3), i interval);
INSERT INTO by_moment VALUES ('infinity', '-infinity', NULL, '1 mon'), ('2024-05-06 07:08:09.000001+03', '0044-03-15 BC',
    '2024-05-06 07:08:09.123', '1 year 2 mons 3 days 04:05:06.7');
CREATE TYPE temper AS ENUM ('wild', 'a b', 'it''s');
CREATE TABLE by_label (k temper PRIMARY KEY, others temper[]);
INSERT INTO by_label VALUES ('wild', '{"a b",wild}'), ('it''s', NULL);
CREATE TABLE by_bytes (k bytea PRIMARY KEY, a bool, v char(4), UNIQUE (a, v));
INSERT INTO by_bytes VALUES ('\x00ff', true, 'ab'), ('', NULL, 'abcd');
CREATE TABLE by_address (k inet PRIMARY KEY, m macaddr);
INSERT INTO by_address VALUES ('10.0.0.0/8', NULL), ('10.0.0.1', '08:00:2b:01:02:03');
CREATE TABLE of_users (
    id bigint GENERATED ALWAYS AS IDENTITY (START 5 INCREMENT 3) PRIMARY KEY,
    user_id uuid REFERENCES auth.users (id) ON DELETE CASCADE
);
INSERT INTO of_users (user_id) SELECT id FROM auth.users;
CREATE SEQUENCE numbers; CREATE SEQUENCE alone START 40;
SELECT nextval('alone');
CREATE TABLE numbered_a (id bigint PRIMARY KEY DEFAULT nextval('numbers'), v text);
CREATE TABLE numbered_b (id bigint PRIMARY KEY DEFAULT nextval('numbers'), n serial, v text);
INSERT INTO numbered_a (v) VALUES ('a'), ('b'); INSERT INTO numbered_b (v) VALUES ('c'), ('d');
CREATE TABLE computed (id int PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a * 2) STORED);
INSERT INTO computed (id, a) SELECT n, n FROM generate_series(1, 5) n;
CREATE TABLE ranged (id int, day date, v text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE ranged_old PARTITION OF ranged FOR VALUES FROM ('2020-01-01') TO ('2024-01-01');
CREATE TABLE ranged_rest PARTITION OF ranged DEFAULT;
INSERT INTO ranged SELECT n, date '2023-10-01' + n * 20, 'r' FROM generate_series(1, 12) n;
CREATE TABLE tree (id int PRIMARY KEY, parent int REFERENCES tree (id));
INSERT INTO tree SELECT n, nullif(n / 2, 0) FROM generate_series(1, 40) n;
CREATE TABLE hens (id int PRIMARY KEY, egg int); CREATE TABLE eggs (id int PRIMARY KEY, hen int REFERENCES hens (id));
ALTER TABLE hens ADD FOREIGN KEY (egg) REFERENCES eggs (id) DEFERRABLE INITIALLY DEFERRED;
BEGIN; INSERT INTO hens VALUES (1, 1), (2, NULL); INSERT INTO eggs VALUES (1, 2), (3, 1); COMMIT;
CREATE TABLE placed (id int PRIMARY KEY, place int UNIQUE DEFERRABLE INITIALLY DEFERRED, e text, UNIQUE NULLS NOT DISTINCT (e));
INSERT INTO placed VALUES (1, 1, NULL), (2, 2, 'e');
CREATE TABLE apart (id int PRIMARY KEY, r int4range, EXCLUDE USING gist (r WITH &&));
INSERT INTO apart VALUES (1, '[1,5)'), (2, '[5,9)');
CREATE TABLE "Two Words" ("Id" int PRIMARY KEY, "madeAt" timestamptz DEFAULT now(), "имя" text, "a""b" text, "1st" int);
INSERT INTO "Two Words" SELECT n, '2024-01-01', 'и', 'q', n FROM generate_series(1, 7) n;
CREATE TABLE "class" (id int PRIMARY KEY, datetime timestamp, metadata jsonb, registry text, "import" text, int int, str text);
INSERT INTO "class" VALUES (1, '2024-01-01', '{"a": 1.10}', 'r', 'i', 1, 's');
CREATE TABLE "User" (id int PRIMARY KEY, "class" int REFERENCES "class" (id)); INSERT INTO "User" VALUES (1, 1);
CREATE TABLE lists (id int PRIMARY KEY, a int[], t text[], j jsonb[], r int4range[]);
INSERT INTO lists VALUES (1, '[0:1]={1,2}', '{"a,b",NULL,""}', ARRAY['{"a":1.10}'::jsonb, 'null'], '{"[1,3)",empty}'),
    (2, '{{1,2},{3,4}}', '{}', NULL, NULL);
CREATE TYPE address AS (street text, code text);
CREATE DOMAIN mail AS text CHECK (VALUE ~ '@'); CREATE DOMAIN amount AS numeric(8, 2) NOT NULL;
CREATE TABLE odd (
    id int PRIMARY KEY, p point, lsn pg_lsn, path jsonpath, a address, e mail, n amount DEFAULT 1, m money,
    mr int4multirange, v tsvector, b bit(5), vb bit varying, t timetz
);
INSERT INTO odd VALUES (1, '(1.5,2.5)', '16/B374D848', '$.a[*]', row('ул. "Мира", 1', '123'), 'a@b', 2.50, '12.34',
    '{[1,3),[5,9)}', to_tsvector('simple', 'a b'), '10101', '101', '12:00:00+03');
CREATE TABLE no_key (a int, b text); INSERT INTO no_key VALUES (1, 'x'), (1, 'x'), (NULL, NULL);
CREATE TABLE key_by_index (a int NOT NULL, b text); CREATE UNIQUE INDEX key_by_index_a ON key_by_index (a) INCLUDE (b);
INSERT INTO key_by_index VALUES (1, 'x'), (2, 'y');
CREATE SCHEMA shop; CREATE TABLE shop.things (id int PRIMARY KEY, v text); INSERT INTO shop.things VALUES (1, 'of the shop');
CREATE TABLE things (id int PRIMARY KEY, v text, touched timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON things (lower(v) DESC NULLS LAST, id) WHERE v <> ':a %s';
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN /* :name %s \restrict */ new.touched := now(); RETURN new; END $$;
CREATE TRIGGER touched BEFORE UPDATE ON things FOR EACH ROW EXECUTE FUNCTION touch();
INSERT INTO things VALUES (1, 'of public', '2024-01-01');
COMMENT ON TABLE things IS 'It''s 100% "here" \ '; COMMENT ON COLUMN things.v IS 'имя :x';
CREATE VIEW of_all AS SELECT u.id, t.v FROM of_users u, things t;
CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM of_users;
