-- A shop that also lets rooms and hours: goods, stock, orders, bookings, reports. It leans on PostgreSQL itself:
-- domains, ranges, exclusion, partitions in three ways, generated columns, types, operators and search of its own.
-- 43 tables in the schemas public, catalog, stock and "Отчёты". Loads with psql into an empty database.
\ir supabase.sql
CREATE SCHEMA catalog;
CREATE SCHEMA stock;
CREATE SCHEMA "Отчёты";
COMMENT ON SCHEMA "Отчёты" IS 'Что видит владелец; 100%';
GRANT USAGE ON SCHEMA catalog TO anon, authenticated;
ALTER DEFAULT PRIVILEGES IN SCHEMA catalog GRANT SELECT ON TABLES TO anon;

-- Types, an operator and a search of its own
CREATE COLLATION public.byte_order (provider = libc, locale = 'C');
CREATE TYPE public.order_state AS ENUM ('new', 'in work', 'shipped', 'closed');
ALTER TYPE public.order_state ADD VALUE '"odd", isn''t it' BEFORE 'closed';
ALTER TYPE public.order_state RENAME VALUE 'in work' TO 'в работе';
CREATE TYPE public.weekday AS ENUM ('mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun');
CREATE TYPE catalog.size AS (width numeric(8, 2), height numeric(8, 2), unit text COLLATE "C");
CREATE TYPE catalog.option AS (name text, allowed text[], sizes catalog.size[], active daterange);
CREATE TYPE public.time_span AS RANGE (subtype = time, multirange_type_name = public.time_spans);
CREATE DOMAIN public.price AS numeric(12, 4) CHECK (VALUE >= 0 OR VALUE = 'NaN');
CREATE DOMAIN public.retail_price AS public.price NOT NULL CONSTRAINT "not for nothing" CHECK (VALUE <> 0);
CREATE DOMAIN public.email AS text COLLATE public.byte_order CHECK (VALUE ~ '^[^@\s]+@[^@\s]+$');
CREATE DOMAIN public.weekdays AS public.weekday[] CHECK (cardinality(VALUE) BETWEEN 0 AND 7);
CREATE DOMAIN catalog.box AS catalog.size CHECK ((VALUE).width IS NULL OR (VALUE).width > 0);
ALTER DOMAIN public.email ADD CONSTRAINT "no blank at the end" CHECK (VALUE NOT LIKE '% ') NOT VALID;
CREATE FUNCTION catalog.area(box catalog.size) RETURNS numeric LANGUAGE sql IMMUTABLE RETURN (box).width * (box).height;
CREATE FUNCTION catalog.is_smaller(a catalog.size, b catalog.size) RETURNS boolean LANGUAGE sql IMMUTABLE
    RETURN catalog.area(a) < catalog.area(b);
CREATE OPERATOR catalog.<<< (LEFTARG = catalog.size, RIGHTARG = catalog.size, FUNCTION = catalog.is_smaller, COMMUTATOR = OPERATOR(catalog.>>>));
CREATE FUNCTION public.as_text(spans public.time_spans) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT (SELECT string_agg(s::text, ' ') FROM unnest(spans) s) $$;
CREATE CAST (catalog.size AS numeric) WITH FUNCTION catalog.area(catalog.size) AS ASSIGNMENT;
CREATE TEXT SEARCH DICTIONARY catalog.words (TEMPLATE = pg_catalog.simple, ACCEPT = true);
CREATE TEXT SEARCH CONFIGURATION catalog.goods (COPY = pg_catalog.simple);
ALTER TEXT SEARCH CONFIGURATION catalog.goods ALTER MAPPING FOR word, asciiword WITH catalog.words;
COMMENT ON TYPE catalog.size IS E'Width × height, in \\ "units"';
COMMENT ON OPERATOR catalog.<<< (catalog.size, catalog.size) IS 'By area';

-- Numbers
CREATE SEQUENCE public.document_numbers START 10 INCREMENT 5;
CREATE SEQUENCE public.countdown AS smallint INCREMENT -1 MINVALUE -100 MAXVALUE 100 START 100 NO CYCLE;
CREATE SEQUENCE "Отчёты"."номера отчётов" CACHE 20;
CREATE FUNCTION public.document_number(prefix text DEFAULT 'Д', number bigint DEFAULT nextval('public.document_numbers'::regclass)) RETURNS text
    LANGUAGE plpgsql AS $_$
DECLARE
    digits constant integer := 6;
    result text;
BEGIN
    SELECT format('%s-%s', prefix, lpad(number::text, digits, '0')) INTO STRICT result;
    IF result ~ '%' THEN RAISE NOTICE 'number % of %%, :result', number; END IF;
    RETURN result;
END
$_$;
CREATE FUNCTION public.document_number(prefix text, year integer, "of" text) RETURNS text LANGUAGE sql STABLE AS $$ SELECT prefix || '/' || year || '/' || "of" $$;
CREATE FUNCTION public.luhn(digits text) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT sum(CASE WHEN n % 2 = 1 THEN d * 2 - CASE WHEN d > 4 THEN 9 ELSE 0 END ELSE d END) % 10 = 0
    FROM (SELECT d::integer, n - 1 AS n FROM regexp_split_to_table(reverse(digits), '') WITH ORDINALITY AS t (d, n)) AS "each"
$$;

-- The catalogue
CREATE TABLE catalog.categories (
    id smallint GENERATED ALWAYS AS IDENTITY (START 1 INCREMENT 1 MAXVALUE 3000) PRIMARY KEY,
    parent smallint CONSTRAINT "parent of a category" REFERENCES catalog.categories ON DELETE RESTRICT,
    name text COLLATE public.byte_order NOT NULL,
    path text[] NOT NULL DEFAULT '{}',
    depth integer GENERATED ALWAYS AS (cardinality(path)) STORED,
    position double precision,
    UNIQUE (parent, position) DEFERRABLE INITIALLY DEFERRED
);
CREATE TABLE catalog.products (
    id bigint PRIMARY KEY DEFAULT nextval('public.document_numbers'),
    category smallint REFERENCES catalog.categories,
    sku varchar(24) NOT NULL UNIQUE CHECK (sku = upper(sku)),
    old_name text,
    name text NOT NULL,
    description text,
    words tsvector GENERATED ALWAYS AS (setweight(to_tsvector('catalog.goods', name), 'A') || to_tsvector('catalog.goods', coalesce(description, ''))) STORED,
    box catalog.box,
    options catalog.option[],
    barcode text CHECK (public.luhn(barcode)),
    attributes jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(attributes) <> 'string'),
    main_variant bigint,
    weight real,
    "class" text DEFAULT 'A',
    "import" text,
    "метка" text
);
ALTER TABLE catalog.products DROP old_name, ALTER description SET STORAGE MAIN, ALTER description SET COMPRESSION pglz;
CREATE TABLE catalog.variants (
    id bigint GENERATED BY DEFAULT AS IDENTITY (SEQUENCE NAME catalog."номера вариантов" START 500 INCREMENT 3) PRIMARY KEY,
    product bigint NOT NULL REFERENCES catalog.products ON DELETE CASCADE,
    title text,
    colour bit(24),
    flags varbit,
    price public.retail_price DEFAULT 1,
    cost public.price,
    margin numeric GENERATED ALWAYS AS (price - cost) STORED,
    UNIQUE (product, id)
);
ALTER TABLE catalog.products ADD CONSTRAINT "main variant is one of its own" FOREIGN KEY (id, main_variant) REFERENCES catalog.variants (product, id) DEFERRABLE;
CREATE TABLE catalog.prices (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    product bigint NOT NULL REFERENCES catalog.products,
    valid daterange NOT NULL,
    amount public.price,
    old_amount money,
    CONSTRAINT "one price at a time" EXCLUDE USING gist (int8range(product, product, '[]') WITH =, valid WITH &&) DEFERRABLE INITIALLY DEFERRED
);
CREATE TABLE catalog.media (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), product bigint REFERENCES catalog.products, content bytea, url text, taken timestamp(0), place point, outline polygon);
CREATE TABLE catalog.translations (
    "table" name, row_id bigint, locale char(5) COLLATE "C", "column" text, value text, PRIMARY KEY (locale, "table", row_id, "column")
);
CREATE TABLE catalog.related (product bigint REFERENCES catalog.products, other bigint REFERENCES catalog.products, kind "char", PRIMARY KEY (product, other), CHECK (product <> other));
CREATE TABLE catalog.bundles (bundle bigint, part bigint, quantity numeric(6, 3) DEFAULT 1.000, PRIMARY KEY (bundle, part), FOREIGN KEY (bundle) REFERENCES catalog.products, FOREIGN KEY (part) REFERENCES catalog.products NOT VALID);
CREATE TABLE catalog.brands (name text PRIMARY KEY, site text);
CREATE TABLE catalog.foreign_brands (country char(2)) INHERITS (catalog.brands);
ALTER TABLE catalog.foreign_brands ADD PRIMARY KEY (name);

-- Stock
CREATE TABLE stock.suppliers (id serial PRIMARY KEY, name text, tax_number varchar(12), terms interval DEFAULT '30 days');
CREATE TABLE stock.warehouses (code char(4) PRIMARY KEY, name text, address text, open public.time_spans, mac macaddr8, "at" point);
CREATE TABLE stock.levels (
    warehouse char(4) REFERENCES stock.warehouses, variant bigint REFERENCES catalog.variants, quantity integer NOT NULL DEFAULT 0, reserved integer DEFAULT 0,
    free integer GENERATED ALWAYS AS (quantity - reserved) STORED,
    PRIMARY KEY (warehouse, variant)
) WITH (fillfactor = 70, autovacuum_enabled = false, toast.autovacuum_enabled = false);
CREATE TABLE stock.moves (
    id bigint NOT NULL DEFAULT nextval('public.document_numbers'),
    warehouse char(4) NOT NULL,
    variant bigint,
    quantity integer NOT NULL,
    note text,
    PRIMARY KEY (warehouse, id)
) PARTITION BY LIST (warehouse);
CREATE TABLE stock.moves_main PARTITION OF stock.moves (CONSTRAINT "few at once" CHECK (quantity < 1000)) FOR VALUES IN ('MAIN', 'M2') PARTITION BY HASH (id);
CREATE TABLE stock.moves_main_0 PARTITION OF stock.moves_main FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE stock.moves_main_1 PARTITION OF stock.moves_main FOR VALUES WITH (MODULUS 2, REMAINDER 1);
-- A partition that was once a table of its own: its columns stand in another order, and one is gone.
CREATE TABLE stock.moves_others (note text, gone text, quantity integer NOT NULL, variant bigint, id bigint NOT NULL, warehouse char(4) NOT NULL);
ALTER TABLE stock.moves_others DROP gone;
ALTER TABLE stock.moves ATTACH PARTITION stock.moves_others DEFAULT;
ALTER TABLE stock.moves ADD FOREIGN KEY (warehouse) REFERENCES stock.warehouses (code);
CREATE TABLE stock.purchase_orders (
    number text PRIMARY KEY DEFAULT public.document_number('З'), supplier integer REFERENCES stock.suppliers, lines jsonb[], due date, created timestamptz DEFAULT transaction_timestamp()
);
CREATE TABLE stock.counts (warehouse char(4), counted_on date, variant bigint, counted integer, by_whom text) WITH (autovacuum_analyze_threshold = 10);
CREATE UNIQUE INDEX "a count a day" ON stock.counts (warehouse, counted_on DESC, variant NULLS FIRST) NULLS NOT DISTINCT;
ALTER TABLE stock.counts ALTER warehouse SET NOT NULL, ALTER variant SET NOT NULL, ALTER counted_on SET NOT NULL;
CREATE UNIQUE INDEX counts_identity ON stock.counts (variant, warehouse, counted_on);
ALTER TABLE stock.counts REPLICA IDENTITY USING INDEX counts_identity;

-- Customers and orders
CREATE TABLE public.customers (
    id uuid PRIMARY KEY REFERENCES auth.users (id) ON UPDATE CASCADE,
    email public.email,
    phone text,
    name text,
    "имя" text,
    born date CHECK (born > '0001-01-01 BC'),
    spent numeric(14, 2) NOT NULL DEFAULT 0,
    metadata jsonb,
    registry text,
    datetime timestamp
);
CREATE UNIQUE INDEX "customers: e-mail, lower" ON public.customers (lower(email)) WHERE email IS NOT NULL;
CREATE TABLE public.addresses (id bigserial, customer uuid NOT NULL REFERENCES public.customers, lines text[], zip varchar(10), is_main boolean DEFAULT false, CONSTRAINT "addresses, key" PRIMARY KEY (id));
CREATE UNIQUE INDEX addresses_one_main ON public.addresses (customer) WHERE is_main;
CREATE TABLE public.carts (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), customer uuid REFERENCES public.customers, items jsonb DEFAULT '[]', touched timestamptz DEFAULT now());
CREATE TABLE public."order" (
    "number" text COLLATE "C" PRIMARY KEY DEFAULT public.document_number(),
    customer uuid REFERENCES public.customers ON DELETE SET NULL,
    address bigint REFERENCES public.addresses,
    state public.order_state NOT NULL DEFAULT 'new'::public.order_state,
    "group" text,
    "limit" integer,
    total public.price,
    last_payment integer,
    placed timestamptz(3) DEFAULT now(),
    c text, info text, type text, query text
);
CREATE INDEX "order by state" ON public."order" (state DESC NULLS LAST, placed) INCLUDE (total) WHERE state <> 'closed';
CREATE TABLE public.order_items (
    "order" text REFERENCES public."order" ON UPDATE CASCADE ON DELETE CASCADE,
    line smallint,
    variant bigint REFERENCES catalog.variants,
    quantity numeric(8, 3) NOT NULL CHECK (quantity > 0),
    price public.retail_price,
    amount numeric GENERATED ALWAYS AS (round(quantity * price, 2)) STORED,
    PRIMARY KEY ("order", line)
);
CREATE TABLE public.payments (
    id integer GENERATED ALWAYS AS IDENTITY (START WITH 2147480000 INCREMENT BY 7) PRIMARY KEY,
    "order" text NOT NULL REFERENCES public."order",
    amount money,
    provider text,
    answer json,
    paid timestamptz
);
ALTER TABLE public."order" ADD CONSTRAINT "last payment" FOREIGN KEY (last_payment) REFERENCES public.payments (id) ON DELETE SET NULL (last_payment) DEFERRABLE INITIALLY DEFERRED;
CREATE TABLE public.refunds (payment integer PRIMARY KEY REFERENCES public.payments, reason text NOT NULL, amount money, CONSTRAINT "a reason of a few words" CHECK (length(reason) < 1000) NOT VALID);
CREATE TABLE public.shipments (id smallint PRIMARY KEY DEFAULT nextval('public.countdown'), "order" text REFERENCES public."order", track text[], weights numeric[], sent tstzmultirange);
CREATE TABLE public.coupons (code text PRIMARY KEY, share numeric(5, 4) CHECK (share BETWEEN 0 AND 1), valid tstzrange, kinds public.order_state[], left_over bigint DEFAULT 9223372036854775807);
CREATE TABLE public.coupon_uses (coupon text REFERENCES public.coupons, "order" text REFERENCES public."order", at timestamptz);
ALTER TABLE public.coupon_uses ADD CONSTRAINT coupon_uses_key UNIQUE (coupon, "order");
ALTER TABLE public.coupon_uses ALTER coupon SET NOT NULL, ALTER "order" SET NOT NULL;
CREATE TABLE public.reviews (product bigint REFERENCES catalog.products, customer uuid REFERENCES public.customers, stars smallint CHECK (stars IN (1, 2, 3, 4, 5)), body text, shown boolean, PRIMARY KEY (product, customer));

-- Bookings
CREATE TABLE public.rooms (id integer PRIMARY KEY, name text, floor int2, shape box, hours public.time_span, days public.weekdays DEFAULT '{mon,tue}', walls path, middle circle, edge lseg, "line" line);
CREATE TABLE public.services (id text PRIMARY KEY, takes interval NOT NULL CHECK (takes > '0'), price public.price, needs integer[]);
CREATE TABLE public.staff (id uuid PRIMARY KEY, boss uuid REFERENCES public.staff, name text, skills text[], starts time(0), ends timetz);
CREATE TABLE public.working_hours (staff uuid REFERENCES public.staff, day public.weekday, hours public.time_spans, PRIMARY KEY (staff, day));
CREATE TABLE public.holidays (day date PRIMARY KEY, name text);
CREATE TABLE public.bookings (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    room integer NOT NULL REFERENCES public.rooms,
    during tstzrange NOT NULL CHECK (NOT isempty(during)),
    customer uuid REFERENCES public.customers,
    service text REFERENCES public.services,
    cancelled boolean NOT NULL DEFAULT false,
    notes jsonb,
    PRIMARY KEY (id),
    CONSTRAINT "a room is let once" EXCLUDE USING gist (int4range(room, room, '[]') WITH =, during WITH &&) WHERE (NOT cancelled)
);
CREATE INDEX bookings_during ON public.bookings USING gist (during) WITH (fillfactor = 90);
CREATE INDEX bookings_notes ON public.bookings USING gin (notes jsonb_path_ops) WITH (fastupdate = off);
CREATE TABLE public.waiting (customer uuid REFERENCES public.customers, room integer REFERENCES public.rooms, wanted datemultirange, PRIMARY KEY (customer, room));
CREATE TABLE public.events (
    at timestamp NOT NULL, kind text NOT NULL, who uuid, data jsonb, number bigint GENERATED BY DEFAULT AS IDENTITY, PRIMARY KEY (kind, at, number)
) PARTITION BY RANGE (at, kind);
CREATE TABLE public.events_2023 PARTITION OF public.events FOR VALUES FROM (MINVALUE, MINVALUE) TO ('2024-01-01', MINVALUE);
CREATE TABLE public."events 2024" PARTITION OF public.events FOR VALUES FROM ('2024-01-01', MINVALUE) TO ('2025-01-01', MAXVALUE) TABLESPACE pg_default;
CREATE TABLE public.events_rest PARTITION OF public.events DEFAULT;
CREATE INDEX events_hash ON public.events USING hash (kind);
CREATE INDEX ON public.events USING brin (at timestamp_minmax_multi_ops) WITH (pages_per_range = 8, autosummarize = true);

-- Reports and what is left
CREATE TABLE "Отчёты"."Выручка по дням" ("День" date PRIMARY KEY, "Сумма, ₽" numeric(14, 2), "%" real, "№" bigint DEFAULT nextval('"Отчёты"."номера отчётов"'));
CREATE TABLE "Отчёты"."order" (id integer PRIMARY KEY, "user" name DEFAULT CURRENT_USER, at time DEFAULT LOCALTIME(0));
CREATE TABLE public.settings (key text PRIMARY KEY, value jsonb, changed timestamptz DEFAULT now()) WITH (user_catalog_table = false);
CREATE TABLE public.import (id oid PRIMARY KEY, line text, xid xid8, tid tid, vector tsquery, path jsonpath);
CREATE TABLE public.a_table_whose_name_has_as_many_bytes_as_a_name_can_have_at_all (id integer CONSTRAINT a_constraint_whose_name_has_as_many_bytes_as_a_name_can_have_at PRIMARY KEY, a_column_whose_name_has_as_many_bytes_as_a_name_can_have_of_them text);
CREATE TABLE public.nothing ();
CREATE TABLE public.only_a_key (id boolean PRIMARY KEY DEFAULT true CHECK (id));
CREATE STATISTICS public.bookings_room_service (mcv) ON room, service FROM public.bookings;
ALTER STATISTICS public.bookings_room_service SET STATISTICS 200;

-- Functions, triggers and rules
CREATE FUNCTION public.spend() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
<<"one order">>
DECLARE
    delta numeric := 0;
BEGIN
    IF TG_OP IN ('INSERT', 'UPDATE') THEN delta := delta + coalesce(new.total, 0)::numeric; END IF;
    IF TG_OP IN ('DELETE', 'UPDATE') THEN delta := delta - coalesce(old.total, 0)::numeric; END IF;
    -- NaN would stay for good
    IF delta <> 'NaN'::numeric THEN UPDATE customers SET spent = spent + "one order".delta WHERE id = coalesce(new.customer, old.customer); END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER zz_spend AFTER INSERT OR DELETE OR UPDATE OF total ON public."order" FOR EACH ROW EXECUTE FUNCTION public.spend();
CREATE FUNCTION public.write_sku() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.sku := upper(new.sku); RETURN new; END $$;
CREATE TRIGGER "A: upper case" BEFORE INSERT OR UPDATE ON catalog.products FOR EACH ROW WHEN (new.sku IS NOT NULL) EXECUTE PROCEDURE public.write_sku();
ALTER TABLE catalog.products ENABLE ALWAYS TRIGGER "A: upper case";
CREATE FUNCTION stock.apply_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO stock.levels AS l (warehouse, variant, quantity)
    SELECT warehouse, variant, sum(quantity) FROM new_rows WHERE variant IS NOT NULL GROUP BY warehouse, variant
    ON CONFLICT (warehouse, variant) DO UPDATE SET quantity = l.quantity + excluded.quantity;
    RETURN NULL;
END
$$;
CREATE TRIGGER apply_moves AFTER INSERT ON stock.moves REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION stock.apply_moves();
CREATE FUNCTION public.no_holiday() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM public.holidays h WHERE h.day = lower(new.during)::date AND isfinite(h.day)) THEN
        RAISE check_violation USING MESSAGE = 'closed on ' || lower(new.during)::date, COLUMN = 'during';
    END IF;
    RETURN new;
END
$$;
CREATE CONSTRAINT TRIGGER no_holiday AFTER INSERT ON public.bookings FROM public.holidays DEFERRABLE FOR EACH ROW EXECUTE FUNCTION public.no_holiday();
CREATE RULE reviews_are_kept AS ON DELETE TO public.reviews DO INSTEAD UPDATE public.reviews SET shown = false WHERE product = old.product AND customer = old.customer;
CREATE RULE log_settings AS ON UPDATE TO public.settings WHERE old.value IS DISTINCT FROM new.value
    DO ALSO INSERT INTO public.events (at, kind, data) VALUES ('2024-06-01', 'setting', jsonb_build_object('key', new.key));
CREATE FUNCTION public.secure_new_tables() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    made record;
BEGIN
    FOR made IN SELECT object_identity FROM pg_event_trigger_ddl_commands() WHERE object_type = 'table' AND schema_name = 'public' LOOP
        EXECUTE 'ALTER TABLE ' || made.object_identity || ' ENABLE ROW LEVEL SECURITY';
    END LOOP;
END
$$;
CREATE EVENT TRIGGER secure_new_tables ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS') EXECUTE FUNCTION public.secure_new_tables();
CREATE TABLE public.made_after_it (id integer PRIMARY KEY, note text);
CREATE FUNCTION public.weigh(state numeric[], value numeric, weight numeric) RETURNS numeric[] LANGUAGE sql IMMUTABLE AS $$
    SELECT ARRAY[state[1] + value * weight, state[2] + weight]
$$;
CREATE FUNCTION public.weighed(state numeric[]) RETURNS numeric LANGUAGE sql IMMUTABLE RETURN state[1] / nullif(state[2], 0);
CREATE AGGREGATE public.weighted_mean(value numeric, weight numeric) (SFUNC = public.weigh, STYPE = numeric[], FINALFUNC = public.weighed, INITCOND = '{0,0}', PARALLEL = SAFE);
CREATE PROCEDURE public.close_orders(before timestamptz, INOUT closed integer DEFAULT NULL) LANGUAGE plpgsql AS $proc$
BEGIN
    UPDATE public."order" SET state = 'closed' WHERE placed < before;
    GET DIAGNOSTICS closed := ROW_COUNT;
END
$proc$;
CREATE PROCEDURE public.forget(customer uuid) LANGUAGE sql BEGIN ATOMIC
    DELETE FROM public.waiting WHERE waiting.customer = forget.customer;
    UPDATE public.customers SET name = NULL, email = NULL WHERE id = forget.customer;
END;
CREATE FUNCTION public.free_rooms(during tstzrange, VARIADIC floors smallint[] DEFAULT '{}') RETURNS TABLE (room integer, "how big" double precision)
    LANGUAGE sql STABLE BEGIN ATOMIC
    SELECT r.id, area(r.shape) FROM public.rooms r
    WHERE (cardinality(floors) = 0 OR r.floor = ANY (floors))
        AND NOT EXISTS (SELECT FROM public.bookings b WHERE b.room = r.id AND b.during && free_rooms.during AND NOT b.cancelled);
END;

-- Views, one on another
CREATE VIEW public.full_items AS SELECT i.*, v.title, p.name AS product FROM public.order_items i LEFT JOIN catalog.variants v ON v.id = i.variant LEFT JOIN catalog.products p ON p.id = v.product;
CREATE VIEW "Отчёты".продажи AS SELECT product AS "Товар", sum(amount) AS "Сумма, ₽" FROM public.full_items GROUP BY 1 HAVING sum(amount) > 0 ORDER BY 2 DESC NULLS LAST;
CREATE RECURSIVE VIEW catalog.tree (id, name, level) AS
    SELECT id, name, 0 FROM catalog.categories WHERE parent IS NULL
    UNION ALL SELECT c.id, c.name, t.level + 1 FROM catalog.categories c JOIN tree t ON t.id = c.parent;
CREATE VIEW public.open_orders WITH (security_invoker = true, check_option = cascaded) AS SELECT "number", customer, state FROM public."order" WHERE state < 'closed';
CREATE FUNCTION public.insert_open_order() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public."order" (customer) VALUES (new.customer); RETURN new; END $$;
CREATE TRIGGER insert_open_order INSTEAD OF INSERT ON public.open_orders FOR EACH ROW EXECUTE FUNCTION public.insert_open_order();
CREATE MATERIALIZED VIEW "Отчёты".выручка AS SELECT date_trunc('month', o.placed AT TIME ZONE 'UTC') AS month, sum(i.amount) FILTER (WHERE i.amount <> 'NaN') AS total FROM public."order" o JOIN public.order_items i ON i."order" = o."number" WHERE isfinite(o.placed) GROUP BY 1;
CREATE MATERIALIZED VIEW "Отчёты"."выручка: год" AS SELECT date_trunc('year', month) AS year, sum(total) AS total FROM "Отчёты".выручка GROUP BY 1;
CREATE MATERIALIZED VIEW "Отчёты"."over both" AS SELECT y.year, y.total, (SELECT count(*) FROM "Отчёты".продажи) AS goods FROM "Отчёты"."выручка: год" y;
CREATE UNIQUE INDEX ON "Отчёты"."выручка: год" (year);

-- Who may what
ALTER TABLE public.customers ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.customers FORCE ROW LEVEL SECURITY;
ALTER TABLE public."order" ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.bookings ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.reviews ENABLE ROW LEVEL SECURITY;
CREATE POLICY "oneself" ON public.customers FOR ALL TO authenticated USING (id = auth.uid()) WITH CHECK (id = auth.uid() AND spent = 0);
CREATE POLICY "свои заказы" ON public."order" FOR SELECT TO authenticated USING (customer = auth.uid() OR EXISTS (SELECT FROM public.staff s WHERE s.id = auth.uid()));
CREATE POLICY "place an order" ON public."order" FOR INSERT WITH CHECK (state = 'new' AND auth.uid() IS NOT NULL);
CREATE POLICY bookings_change ON public.bookings FOR UPDATE USING (customer = auth.uid()) WITH CHECK (NOT cancelled OR upper(during) > now());
CREATE POLICY bookings_delete ON public.bookings AS RESTRICTIVE FOR DELETE TO authenticated, service_role USING (cancelled);
CREATE POLICY shown ON public.reviews FOR SELECT TO PUBLIC USING (shown);
GRANT EXECUTE ON FUNCTION public.free_rooms(tstzrange, smallint[]) TO anon;
GRANT USAGE ON SEQUENCE "Отчёты"."номера отчётов" TO service_role;
GRANT SELECT ("День"), INSERT ("День", "%") ON "Отчёты"."Выручка по дням" TO authenticated;
REVOKE ALL ON public.payments FROM anon, authenticated;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

COMMENT ON TABLE public."order" IS E'The "order": it''s \\ 100% :state ${x} /* and */ -- so on';
COMMENT ON COLUMN public."order"."limit" IS '%(limit)s, %s and %';
COMMENT ON COLUMN "Отчёты"."Выручка по дням"."%" IS 'Доля, %';
COMMENT ON TABLE public.events_rest IS 'What fits nowhere';
COMMENT ON CONSTRAINT "a room is let once" ON public.bookings IS 'Half-open';
COMMENT ON INDEX public."order by state" IS 'Open ones';
COMMENT ON SEQUENCE public.countdown IS 'Downwards';
COMMENT ON PROCEDURE public.forget(uuid) IS 'On request';
COMMENT ON EVENT TRIGGER secure_new_tables IS 'For whoever forgets it';
COMMENT ON TEXT SEARCH CONFIGURATION catalog.goods IS 'Word by word';
COMMENT ON COLLATION public.byte_order IS 'By bytes';
COMMENT ON COLUMN catalog.size.unit IS 'cm';

-- Rows
CALL pg_temp.sign_up(15);
INSERT INTO catalog.categories (parent, name, path, position) SELECT nullif(n / 3, 0), pg_temp.odd(n), (ARRAY[pg_temp.odd(n), NULL, '"', ''])[1 : n % 4], nullif((ARRAY[0.1 + 0.2, 1e-320, 'Infinity', 'NaN', -0.0]::float8[])[1 + n % 5] * n, 'Infinity') FROM generate_series(1, 25) n;
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO catalog.products (id, category, sku, name, description, box, options, barcode, attributes, main_variant, weight, "import", "метка")
    SELECT n, 1 + n % 25, 'sku-Ё-' || n, pg_temp.odd(n), pg_temp.odd(n + 1), CASE WHEN n % 3 > 0 THEN ROW(n * 1.10, NULL, pg_temp.odd(n))::catalog.size END,
        CASE n % 4 WHEN 0 THEN '{}' WHEN 1 THEN ARRAY[ROW(pg_temp.odd(n), ARRAY[pg_temp.odd(n), NULL], ARRAY[ROW(1, 2.50, '"')::catalog.size, NULL], 'empty')::catalog.option, NULL] END,
        CASE WHEN n % 2 = 0 THEN '79927398713' END, CASE WHEN n % 10 IN (2, 5) THEN '{}' ELSE pg_temp.odd_json(n) END, CASE WHEN n % 2 = 0 THEN 497 + 3 * n END, CASE n WHEN 3 THEN 'NaN' ELSE n / 3.0 END, pg_temp.odd(n), pg_temp.odd(n + 2)
    FROM generate_series(1, 60) n WHERE pg_temp.odd_json(n) IS NOT NULL OR n % 10 = 2;
INSERT INTO catalog.variants (id, product, title, colour, flags, price, cost) SELECT 497 + 3 * id, id, name, (id * 1000)::integer::bit(24), '101'::varbit, id + 0.5000, CASE WHEN id % 7 > 0 THEN id * 0.1 ELSE 'NaN' END FROM catalog.products;
COMMIT;
SELECT setval('catalog."номера вариантов"', (SELECT max(id) FROM catalog.variants)) AS last \gset
INSERT INTO catalog.prices (product, valid, amount, old_amount) SELECT p.id, (ARRAY['[2024-01-01,2024-02-01)', '[2024-02-01,infinity]', '(,2023-01-01)', 'empty']::daterange[])[n], (ARRAY[1, 1.1000, 'NaN', NULL]::numeric[])[n], -1234.5 FROM catalog.products p, generate_series(1, 4) n WHERE p.id <= 30;
INSERT INTO catalog.media (id, product, content, url, taken, place, outline) SELECT pg_temp.uid(n), 1, decode(repeat(lpad(to_hex(n), 2, '0'), n), 'hex'), pg_temp.odd(n), pg_temp.odd_moment(n)::timestamp, point(0.1 * n, -1e-300), '((0,0),(1.5,0),(0,1))' FROM generate_series(0, 30) n;
INSERT INTO catalog.translations SELECT 'products', n, (ARRAY['ru', 'en-GB', ''])[1 + n % 3], pg_temp.odd(n), pg_temp.odd(n + 1) FROM generate_series(1, 60) n;
INSERT INTO catalog.related SELECT a.id, b.id, (ARRAY['a', 'b', ''])[1 + a.id % 3]::"char" FROM catalog.products a JOIN catalog.products b ON b.id = a.id + 1;
INSERT INTO catalog.bundles SELECT a.id, b.id, (ARRAY[1.500, 999.999, NULL])[1 + a.id % 3] FROM catalog.products a JOIN catalog.products b ON b.id = a.id + 2;
INSERT INTO catalog.brands SELECT 'brand ' || n || pg_temp.odd(n), pg_temp.odd(n) FROM generate_series(1, 10) n;
INSERT INTO catalog.foreign_brands SELECT 'brand ' || n, pg_temp.odd(n), 'ФР' FROM generate_series(5, 15) n;
INSERT INTO stock.suppliers (name, tax_number, terms) SELECT pg_temp.odd(n), '77' || n, (ARRAY['1 mon', '-3 days 00:00:00.000001', '1 year 2 mons', NULL]::interval[])[1 + n % 4] FROM generate_series(1, 20) n;
INSERT INTO stock.warehouses VALUES ('MAIN', 'Main', NULL, '{[09:00,12:00),[13:00,24:00)}', '08:00:2b:01:02:03:04:05', '(1,2)'), ('M2', '', '', '{}', NULL, NULL), ('Юг', 'Юг', 'ул. "Мира"', NULL, NULL, NULL), ('N', 'N', NULL, NULL, NULL, NULL), ('O', 'O', NULL, NULL, NULL, NULL);
INSERT INTO stock.moves (warehouse, variant, quantity, note) SELECT (ARRAY['MAIN', 'M2', 'Юг', 'N'])[1 + n % 4], v.id, n, pg_temp.odd(n) FROM catalog.variants v, generate_series(0, 3) n WHERE v.id < 590;
UPDATE stock.levels SET reserved = 1 WHERE variant % 2 = 0;
INSERT INTO stock.purchase_orders (number, supplier, lines, due, created) SELECT pg_temp.odd(n), 1 + n % 20, CASE WHEN n % 2 = 0 THEN ARRAY[pg_temp.odd_json(n), NULL, 'null'] ELSE '{}' END::jsonb[], (ARRAY['infinity', '-infinity', '0001-01-01 BC', '5874897-12-31']::date[])[1 + n % 4], pg_temp.odd_moment(n) FROM generate_series(0, 17) n;
INSERT INTO stock.counts SELECT 'MAIN', '2024-01-01'::date + n, 500, n, pg_temp.odd(n) FROM generate_series(1, 40) n;
INSERT INTO public.customers (id, email, phone, name, "имя", born, metadata, registry, datetime) SELECT pg_temp.uid(n), CASE WHEN n % 4 > 0 THEN 'Имя' || n || '@example.test' END, '7000000000' || n, pg_temp.odd(n), pg_temp.odd(n + 1), (ARRAY['infinity', '1970-01-01', NULL]::date[])[1 + n % 3], pg_temp.odd_json(n), pg_temp.odd(n), pg_temp.odd_moment(n)::timestamp FROM generate_series(1, 15) n;
INSERT INTO public.addresses (customer, lines, zip, is_main) SELECT pg_temp.uid(1 + n % 15), CASE n % 5 WHEN 0 THEN '{}' WHEN 1 THEN '[0:1]={a,b}' WHEN 2 THEN '{{a,b},{NULL,"NULL"}}' WHEN 3 THEN ARRAY[pg_temp.odd(n)] END::text[], ' 1', n < 15 FROM generate_series(0, 44) n;
INSERT INTO public.carts SELECT pg_temp.uid(n), CASE WHEN n % 2 = 0 THEN pg_temp.uid(1 + n % 15) END, pg_temp.odd_json(n), pg_temp.odd_moment(n) FROM generate_series(1, 20) n;
INSERT INTO public."order" ("number", customer, address, state, "group", "limit", total, placed, c, info, type, query) SELECT CASE WHEN n < 18 THEN pg_temp.odd(n) ELSE 'Д-' || n END, CASE WHEN n % 6 > 0 THEN pg_temp.uid(1 + n % 15) END, 1 + n % 45, (enum_range(NULL::public.order_state))[1 + n % 5], pg_temp.odd(n), n, CASE WHEN n % 5 > 0 THEN n * 1.1 END, pg_temp.odd_moment(n), pg_temp.odd(n), pg_temp.odd(n + 1), 't', 'q' FROM generate_series(0, 80) n;
INSERT INTO public.order_items SELECT "number", l, 497 + 3 * (1 + l), l * 1.500, 0.9999 FROM public."order", generate_series(1, 2) l;
INSERT INTO public.payments ("order", amount, provider, answer, paid) SELECT "number", "limit" * 1.01, pg_temp.odd("limit"), '{"b" :1,"a":[ ],"b":2.0}', pg_temp.odd_moment("limit") FROM public."order";
UPDATE public."order" o SET last_payment = p.id FROM public.payments p WHERE p."order" = o."number" AND o."limit" % 2 = 0;
INSERT INTO public.refunds SELECT id, 'it''s ' || coalesce(provider, ''), '-92233720368547758.08' FROM public.payments WHERE id % 3 = 0;
INSERT INTO public.shipments ("order", track, weights, sent) SELECT pg_temp.odd(n % 18), CASE WHEN n % 2 = 0 THEN ARRAY[pg_temp.odd(n)] END, ARRAY[pg_temp.odd_number(n), 1.10], (ARRAY['{}', '{[2024-01-01 00:00:00+00,infinity],(,2023-01-01 00:00:00+00)}', NULL]::tstzmultirange[])[1 + n % 3] FROM generate_series(1, 30) n;
INSERT INTO public.coupons SELECT 'code' || n || pg_temp.odd(n), 0.1000 * (n % 11), (ARRAY['empty', '[-infinity,infinity]', '(,)']::tstzrange[])[1 + n % 3], (enum_range(NULL::public.order_state))[1 : n % 3], CASE WHEN n % 2 = 0 THEN -9223372036854775808 END FROM generate_series(0, 12) n;
INSERT INTO public.coupon_uses SELECT c.code, o."number", o.placed FROM public.coupons c, public."order" o WHERE o."limit" % 9 = 0;
INSERT INTO public.reviews SELECT p.id, c.id, 1 + p.id % 5, pg_temp.odd(p.id), (ARRAY[true, false, NULL])[1 + p.id % 3] FROM catalog.products p, public.customers c WHERE p.id <= 9;
INSERT INTO public.rooms SELECT n, pg_temp.odd(n), -n, box(point(0, 0), point(n, 0.1)), CASE WHEN n % 2 = 0 THEN '[09:00,24:00)'::public.time_span END, CASE n % 3 WHEN 0 THEN '{}' WHEN 1 THEN '{sun}' END::public.weekdays, '[(0,0),(1,1)]', '<(0,0),1.5>', '[(0,0),(1,0.1)]', '{1,-1,0}' FROM generate_series(1, 9) n;
INSERT INTO public.services SELECT 'service ' || n || pg_temp.odd(n), n * interval '15 min 0.5 s', pg_temp.odd_number(n % 3), CASE WHEN n % 2 = 0 THEN '{1,NULL,3}'::integer[] END FROM generate_series(1, 18) n;
INSERT INTO public.staff SELECT pg_temp.uid(n), CASE WHEN n > 1 THEN pg_temp.uid(n / 2) END, pg_temp.odd(n), ARRAY[pg_temp.odd(n)], '24:00', '00:00:00-15:59' FROM generate_series(1, 20) n;
INSERT INTO public.working_hours SELECT pg_temp.uid(n), d, '{[08:00,12:00),[13:00:00.000001,)}' FROM generate_series(1, 5) n, unnest(enum_range(NULL::public.weekday)) d;
INSERT INTO public.holidays VALUES ('infinity', 'never'), ('-infinity', NULL), ('2025-01-01', 'Новый год'), ('0044-03-15 BC', ''), ('2024-12-31', '🎄');
INSERT INTO public.bookings (id, room, during, customer, service, cancelled, notes) SELECT pg_temp.uid(n), 1 + n % 9, tstzrange('2024-03-01 00:00:00+00'::timestamptz + n * interval '1 h', CASE WHEN n < 90 THEN '2024-03-01 00:30:00.000001+00'::timestamptz + n * interval '1 h' END), pg_temp.uid(1 + n % 15), NULL, n % 10 = 0 OR n > 90, pg_temp.odd_json(n) FROM generate_series(1, 100) n;
INSERT INTO public.waiting SELECT pg_temp.uid(n), r, (ARRAY['{}', '{[2024-01-01,2024-01-05),[2024-02-01,)}', NULL]::datemultirange[])[1 + r % 3] FROM generate_series(1, 4) n, generate_series(1, 9) r;
INSERT INTO public.events (at, kind, who, data) SELECT CASE n % 4 WHEN 0 THEN 'infinity' WHEN 1 THEN '-infinity' WHEN 2 THEN '2024-05-05' ELSE '2025-05-05 00:00:00.000001' END::timestamp, pg_temp.odd(n), pg_temp.uid(n), pg_temp.odd_json(n) FROM generate_series(1, 150) n;
INSERT INTO public.settings SELECT pg_temp.odd(n), pg_temp.odd_json(n), pg_temp.odd_moment(n) FROM generate_series(0, 17) n;
UPDATE public.settings SET value = '1' WHERE key = 'plain';
INSERT INTO "Отчёты"."Выручка по дням" ("День", "Сумма, ₽", "%") SELECT '2024-01-01'::date + n, n * 0.10, 'NaN' FROM generate_series(1, 31) n;
INSERT INTO "Отчёты"."order" (id, "user", at) SELECT n, pg_temp.odd(n % 17), '23:59:59.999999' FROM generate_series(-5, 5) n WHERE n >= 0;
INSERT INTO public.import SELECT 4294967295 - n, pg_temp.odd(n), '18446744073709551615', '(0,1)', '''a'' & !''b'':*', '$."a b"[*] ? (@ > 1.10)' FROM generate_series(0, 20) n;
INSERT INTO public.a_table_whose_name_has_as_many_bytes_as_a_name_can_have_at_all SELECT n, pg_temp.odd(n) FROM generate_series(1, 5) n;
INSERT INTO public.only_a_key VALUES (true);
INSERT INTO public.made_after_it SELECT n, pg_temp.odd(n) FROM generate_series(1, 18) n;
REFRESH MATERIALIZED VIEW "Отчёты".выручка;
REFRESH MATERIALIZED VIEW "Отчёты"."выручка: год";
REFRESH MATERIALIZED VIEW "Отчёты"."over both";
