-- The schema "Phase 0.8" that a target may have been prepared for, with rows: eleven business tables, monthly partitions
-- of one of them, functions and triggers. Its WhatsApp session tables are those of live_baileys.sql.

CREATE FUNCTION cleanup_expired_appointments_cache() RETURNS TABLE(deleted_count bigint) LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM appointments_cache WHERE expires_at < now(); GET DIAGNOSTICS deleted_count = ROW_COUNT; RETURN NEXT;
END $$;
CREATE FUNCTION cleanup_expired_dialog_contexts() RETURNS TABLE(deleted_count bigint) LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM dialog_contexts WHERE expires_at < now(); GET DIAGNOSTICS deleted_count = ROW_COUNT; RETURN NEXT;
END $$;
CREATE FUNCTION create_messages_partition(partition_date date) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN 'messages_' || to_char(partition_date, 'YYYY_MM');
END $$;
CREATE FUNCTION get_database_stats() RETURNS TABLE(table_name text, row_count bigint, table_size text) LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT relname::text, n_live_tup, pg_size_pretty(pg_relation_size(relid)) FROM pg_stat_user_tables;
END $$;
CREATE FUNCTION get_messages_stats() RETURNS TABLE(partition_name text, partition_start date, partition_end date, row_count bigint, table_size text) LANGUAGE plpgsql AS $$
BEGIN
    RETURN;
END $$;
CREATE FUNCTION get_recent_messages(p_phone character varying, p_company_id integer, p_limit integer DEFAULT 50) RETURNS TABLE(id bigint, direction character varying, message text, created_at timestamp with time zone, processed boolean) LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT m.id, m.direction, m.message, m.created_at, m.processed FROM messages m WHERE m.phone = p_phone AND m.company_id = p_company_id ORDER BY m.created_at DESC LIMIT p_limit;
END $$;
CREATE FUNCTION maintain_messages_partitions() RETURNS TABLE(action text, partition_name text) LANGUAGE plpgsql AS $$
BEGIN
    RETURN;
END $$;
CREATE FUNCTION update_updated_at_column() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at = now(); RETURN NEW;
END $$;
CREATE TABLE companies (
    id integer NOT NULL,
    name character varying(255) NOT NULL,
    yclients_company_id integer NOT NULL,
    phone character varying(20),
    email character varying(255),
    website character varying(255),
    marketplace_app_id character varying(255),
    marketplace_connected_at timestamp with time zone,
    marketplace_permissions jsonb,
    settings jsonb DEFAULT '{}'::jsonb,
    timezone character varying(50) DEFAULT 'Europe/Moscow'::character varying,
    locale character varying(10) DEFAULT 'ru-RU'::character varying,
    is_active boolean DEFAULT true,
    subscription_status character varying(50) DEFAULT 'active'::character varying,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    CONSTRAINT companies_pkey PRIMARY KEY (id),
    CONSTRAINT companies_yclients_company_id_key UNIQUE (yclients_company_id)
);
CREATE INDEX idx_companies_active ON companies (is_active) WHERE (is_active = true);
CREATE INDEX idx_companies_yclients_id ON companies (yclients_company_id);
CREATE TRIGGER trigger_update_companies_updated_at BEFORE UPDATE ON companies FOR EACH ROW EXECUTE FUNCTION update_updated_at_column();
CREATE TABLE clients (
    id serial,
    company_id integer NOT NULL,
    yclients_client_id integer,
    phone character varying(20) NOT NULL,
    name character varying(255),
    email character varying(255),
    sex character varying(10),
    birth_date date,
    discount numeric(5,2) DEFAULT 0,
    loyalty_card character varying(50),
    visits_count integer DEFAULT 0,
    last_visit_date date,
    first_visit_date date,
    tags text[],
    comment text,
    importance integer DEFAULT 0,
    is_deleted boolean DEFAULT false,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    synced_at timestamp with time zone,
    CONSTRAINT clients_company_id_phone_key UNIQUE (company_id, phone),
    CONSTRAINT clients_pkey PRIMARY KEY (id)
);
CREATE INDEX idx_clients_company_id ON clients (company_id);
CREATE INDEX idx_clients_company_phone ON clients (company_id, phone);
CREATE INDEX idx_clients_last_visit ON clients (last_visit_date DESC) WHERE (is_deleted = false);
CREATE INDEX idx_clients_phone ON clients (phone);
CREATE INDEX idx_clients_visits_count ON clients (visits_count DESC) WHERE (is_deleted = false);
CREATE INDEX idx_clients_yclients_id ON clients (yclients_client_id);
CREATE TRIGGER trigger_update_clients_updated_at BEFORE UPDATE ON clients FOR EACH ROW EXECUTE FUNCTION update_updated_at_column();
CREATE TABLE services (
    id serial,
    company_id integer NOT NULL,
    yclients_service_id integer,
    title character varying(255) NOT NULL,
    category_id integer,
    category_name character varying(255),
    price_min numeric(10,2),
    price_max numeric(10,2),
    duration integer NOT NULL,
    comment text,
    weight integer DEFAULT 0,
    is_active boolean DEFAULT true,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    synced_at timestamp with time zone,
    CONSTRAINT services_company_id_yclients_service_id_key UNIQUE (company_id, yclients_service_id),
    CONSTRAINT services_pkey PRIMARY KEY (id)
);
CREATE INDEX idx_services_active ON services (company_id, is_active) WHERE (is_active = true);
CREATE INDEX idx_services_category ON services (category_id) WHERE (category_id IS NOT NULL);
CREATE INDEX idx_services_company_id ON services (company_id);
CREATE INDEX idx_services_yclients_id ON services (yclients_service_id);
CREATE TRIGGER trigger_update_services_updated_at BEFORE UPDATE ON services FOR EACH ROW EXECUTE FUNCTION update_updated_at_column();
CREATE TABLE staff (
    id serial,
    company_id integer NOT NULL,
    yclients_staff_id integer,
    name character varying(255) NOT NULL,
    specialization character varying(255),
    avatar_url text,
    phone character varying(20),
    email character varying(255),
    rating numeric(3,2),
    comments_count integer DEFAULT 0,
    weight integer DEFAULT 0,
    is_active boolean DEFAULT true,
    is_hidden boolean DEFAULT false,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    synced_at timestamp with time zone,
    CONSTRAINT staff_company_id_yclients_staff_id_key UNIQUE (company_id, yclients_staff_id),
    CONSTRAINT staff_pkey PRIMARY KEY (id)
);
CREATE INDEX idx_staff_active ON staff (company_id, is_active) WHERE (is_active = true);
CREATE INDEX idx_staff_company_id ON staff (company_id);
CREATE INDEX idx_staff_rating ON staff (rating DESC NULLS LAST) WHERE (is_active = true);
CREATE INDEX idx_staff_yclients_id ON staff (yclients_staff_id);
CREATE TRIGGER trigger_update_staff_updated_at BEFORE UPDATE ON staff FOR EACH ROW EXECUTE FUNCTION update_updated_at_column();
CREATE TABLE bookings (
    id serial,
    company_id integer NOT NULL,
    yclients_booking_id integer,
    client_id integer NOT NULL,
    service_id integer NOT NULL,
    staff_id integer NOT NULL,
    datetime timestamp with time zone NOT NULL,
    duration integer NOT NULL,
    status character varying(50) NOT NULL DEFAULT 'pending'::character varying,
    cost numeric(10,2),
    paid numeric(10,2) DEFAULT 0,
    comment text,
    client_comment text,
    source character varying(50) DEFAULT 'whatsapp'::character varying,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    synced_at timestamp with time zone,
    CONSTRAINT bookings_company_id_yclients_booking_id_key UNIQUE (company_id, yclients_booking_id),
    CONSTRAINT bookings_datetime_check CHECK ((datetime > '2020-01-01 00:00:00+00'::timestamp with time zone)),
    CONSTRAINT bookings_duration_check CHECK ((duration > 0)),
    CONSTRAINT bookings_pkey PRIMARY KEY (id),
    CONSTRAINT bookings_status_check CHECK (((status)::text = ANY ((ARRAY['pending'::character varying, 'confirmed'::character varying, 'completed'::character varying, 'cancelled'::character varying, 'no_show'::character varying])::text[])))
);
CREATE INDEX idx_bookings_client_id ON bookings (client_id);
CREATE INDEX idx_bookings_company_datetime ON bookings (company_id, datetime DESC);
CREATE INDEX idx_bookings_company_id ON bookings (company_id);
CREATE INDEX idx_bookings_datetime ON bookings (datetime);
CREATE INDEX idx_bookings_service_id ON bookings (service_id);
CREATE INDEX idx_bookings_staff_id ON bookings (staff_id);
CREATE INDEX idx_bookings_status ON bookings (status) WHERE ((status)::text = ANY ((ARRAY['pending'::character varying, 'confirmed'::character varying])::text[]));
CREATE INDEX idx_bookings_yclients_id ON bookings (yclients_booking_id);
CREATE TRIGGER trigger_update_bookings_updated_at BEFORE UPDATE ON bookings FOR EACH ROW EXECUTE FUNCTION update_updated_at_column();
CREATE TABLE staff_schedules (
    id serial,
    company_id integer NOT NULL,
    staff_id integer NOT NULL,
    yclients_schedule_id integer,
    date date NOT NULL,
    start_time time without time zone,
    end_time time without time zone,
    is_working boolean DEFAULT true,
    is_day_off boolean DEFAULT false,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    synced_at timestamp with time zone,
    CONSTRAINT staff_schedules_pkey PRIMARY KEY (id),
    CONSTRAINT staff_schedules_staff_id_date_key UNIQUE (staff_id, date)
);
CREATE INDEX idx_schedules_company_date ON staff_schedules (company_id, date);
CREATE INDEX idx_schedules_date ON staff_schedules (date) WHERE (is_working = true);
CREATE INDEX idx_schedules_staff_date ON staff_schedules (staff_id, date);
CREATE INDEX idx_schedules_staff_id ON staff_schedules (staff_id);
CREATE TRIGGER trigger_update_staff_schedules_updated_at BEFORE UPDATE ON staff_schedules FOR EACH ROW EXECUTE FUNCTION update_updated_at_column();
CREATE TABLE dialog_contexts (
    id serial,
    phone character varying(20) NOT NULL,
    company_id integer NOT NULL,
    context jsonb NOT NULL DEFAULT '{}'::jsonb,
    current_step character varying(50),
    booking_data jsonb,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    expires_at timestamp with time zone,
    CONSTRAINT dialog_contexts_phone_company_id_key UNIQUE (phone, company_id),
    CONSTRAINT dialog_contexts_pkey PRIMARY KEY (id)
);
CREATE INDEX idx_dialog_contexts_company ON dialog_contexts (company_id);
CREATE INDEX idx_dialog_contexts_expires ON dialog_contexts (expires_at) WHERE (expires_at IS NOT NULL);
CREATE INDEX idx_dialog_contexts_phone ON dialog_contexts (phone);
CREATE TRIGGER trigger_update_dialog_contexts_updated_at BEFORE UPDATE ON dialog_contexts FOR EACH ROW EXECUTE FUNCTION update_updated_at_column();
CREATE TABLE reminders (
    id serial,
    company_id integer NOT NULL,
    booking_id integer NOT NULL,
    remind_at timestamp with time zone NOT NULL,
    type character varying(50) NOT NULL,
    status character varying(50) DEFAULT 'pending'::character varying,
    sent_at timestamp with time zone,
    error text,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    CONSTRAINT reminders_pkey PRIMARY KEY (id),
    CONSTRAINT reminders_status_check CHECK (((status)::text = ANY ((ARRAY['pending'::character varying, 'sent'::character varying, 'failed'::character varying])::text[]))),
    CONSTRAINT reminders_type_check CHECK (((type)::text = ANY ((ARRAY['sms'::character varying, 'whatsapp'::character varying, 'email'::character varying])::text[])))
);
CREATE INDEX idx_reminders_booking_id ON reminders (booking_id);
CREATE INDEX idx_reminders_company_id ON reminders (company_id);
CREATE INDEX idx_reminders_remind_at ON reminders (remind_at) WHERE ((status)::text = 'pending'::text);
CREATE INDEX idx_reminders_status ON reminders (status) WHERE ((status)::text = 'pending'::text);
CREATE TRIGGER trigger_update_reminders_updated_at BEFORE UPDATE ON reminders FOR EACH ROW EXECUTE FUNCTION update_updated_at_column();
CREATE TABLE sync_status (
    id serial,
    company_id integer NOT NULL,
    entity_type character varying(50) NOT NULL,
    last_sync_at timestamp with time zone,
    last_success_at timestamp with time zone,
    last_error text,
    records_synced integer DEFAULT 0,
    records_failed integer DEFAULT 0,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    CONSTRAINT sync_status_company_id_entity_type_key UNIQUE (company_id, entity_type),
    CONSTRAINT sync_status_entity_type_check CHECK (((entity_type)::text = ANY ((ARRAY['clients'::character varying, 'services'::character varying, 'staff'::character varying, 'schedules'::character varying, 'bookings'::character varying, 'all'::character varying])::text[]))),
    CONSTRAINT sync_status_pkey PRIMARY KEY (id)
);
CREATE INDEX idx_sync_status_company ON sync_status (company_id);
CREATE INDEX idx_sync_status_entity ON sync_status (entity_type);
CREATE TRIGGER trigger_update_sync_status_updated_at BEFORE UPDATE ON sync_status FOR EACH ROW EXECUTE FUNCTION update_updated_at_column();
CREATE TABLE appointments_cache (
    id serial,
    company_id integer NOT NULL,
    cache_key character varying(255) NOT NULL,
    appointments jsonb NOT NULL,
    cached_at timestamp with time zone DEFAULT now(),
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT appointments_cache_company_id_cache_key_key UNIQUE (company_id, cache_key),
    CONSTRAINT appointments_cache_pkey PRIMARY KEY (id)
);
CREATE INDEX idx_appointments_cache_company ON appointments_cache (company_id);
CREATE INDEX idx_appointments_cache_expires ON appointments_cache (expires_at);
CREATE TABLE messages (
    id bigserial,
    company_id integer NOT NULL,
    phone character varying(20) NOT NULL,
    message text,
    direction character varying(10) NOT NULL,
    message_id character varying(255),
    from_me boolean NOT NULL DEFAULT false,
    status character varying(50),
    processed boolean DEFAULT false,
    processed_at timestamp with time zone,
    ai_response text,
    processing_time_ms integer,
    context_id integer,
    intent character varying(50),
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT messages_direction_check CHECK (((direction)::text = ANY ((ARRAY['inbound'::character varying, 'outbound'::character varying])::text[]))),
    CONSTRAINT messages_pkey PRIMARY KEY (id, created_at),
    CONSTRAINT messages_status_check CHECK (((status)::text = ANY ((ARRAY['sent'::character varying, 'delivered'::character varying, 'read'::character varying, 'failed'::character varying, NULL::character varying])::text[])))
) PARTITION BY RANGE (created_at);
CREATE INDEX idx_messages_company ON messages (company_id, created_at DESC);
CREATE INDEX idx_messages_company_phone ON messages (company_id, phone, created_at DESC);
CREATE INDEX idx_messages_direction ON messages (direction, created_at DESC);
CREATE INDEX idx_messages_intent ON messages (intent, created_at DESC) WHERE (intent IS NOT NULL);
CREATE INDEX idx_messages_message_id ON messages (message_id) WHERE (message_id IS NOT NULL);
CREATE INDEX idx_messages_phone ON messages (phone);
CREATE INDEX idx_messages_processed ON messages (processed, created_at) WHERE (processed = false);
CREATE INDEX idx_messages_status ON messages (status, created_at DESC) WHERE (status IS NOT NULL);
CREATE TABLE messages_2026_11 PARTITION OF messages FOR VALUES FROM ('2026-11-01 00:00:00+00') TO ('2026-12-01 00:00:00+00');
CREATE TABLE messages_2026_12 PARTITION OF messages FOR VALUES FROM ('2026-12-01 00:00:00+00') TO ('2027-01-01 00:00:00+00');
CREATE TABLE messages_2027_01 PARTITION OF messages FOR VALUES FROM ('2027-01-01 00:00:00+00') TO ('2027-02-01 00:00:00+00');
CREATE TABLE messages_2027_02 PARTITION OF messages FOR VALUES FROM ('2027-02-01 00:00:00+00') TO ('2027-03-01 00:00:00+00');
CREATE TABLE messages_2027_03 PARTITION OF messages FOR VALUES FROM ('2027-03-01 00:00:00+00') TO ('2027-04-01 00:00:00+00');
CREATE TABLE messages_2027_04 PARTITION OF messages FOR VALUES FROM ('2027-04-01 00:00:00+00') TO ('2027-05-01 00:00:00+00');
ALTER TABLE clients ADD CONSTRAINT clients_company_id_fkey FOREIGN KEY (company_id) REFERENCES companies(id) ON DELETE CASCADE;
ALTER TABLE services ADD CONSTRAINT services_company_id_fkey FOREIGN KEY (company_id) REFERENCES companies(id) ON DELETE CASCADE;
ALTER TABLE staff ADD CONSTRAINT staff_company_id_fkey FOREIGN KEY (company_id) REFERENCES companies(id) ON DELETE CASCADE;
ALTER TABLE bookings ADD CONSTRAINT bookings_client_id_fkey FOREIGN KEY (client_id) REFERENCES clients(id) ON DELETE RESTRICT;
ALTER TABLE bookings ADD CONSTRAINT bookings_company_id_fkey FOREIGN KEY (company_id) REFERENCES companies(id) ON DELETE CASCADE;
ALTER TABLE bookings ADD CONSTRAINT bookings_service_id_fkey FOREIGN KEY (service_id) REFERENCES services(id) ON DELETE RESTRICT;
ALTER TABLE bookings ADD CONSTRAINT bookings_staff_id_fkey FOREIGN KEY (staff_id) REFERENCES staff(id) ON DELETE RESTRICT;
ALTER TABLE staff_schedules ADD CONSTRAINT staff_schedules_company_id_fkey FOREIGN KEY (company_id) REFERENCES companies(id) ON DELETE CASCADE;
ALTER TABLE staff_schedules ADD CONSTRAINT staff_schedules_staff_id_fkey FOREIGN KEY (staff_id) REFERENCES staff(id) ON DELETE CASCADE;
ALTER TABLE dialog_contexts ADD CONSTRAINT dialog_contexts_company_id_fkey FOREIGN KEY (company_id) REFERENCES companies(id) ON DELETE CASCADE;
ALTER TABLE reminders ADD CONSTRAINT reminders_booking_id_fkey FOREIGN KEY (booking_id) REFERENCES bookings(id) ON DELETE CASCADE;
ALTER TABLE reminders ADD CONSTRAINT reminders_company_id_fkey FOREIGN KEY (company_id) REFERENCES companies(id) ON DELETE CASCADE;
ALTER TABLE sync_status ADD CONSTRAINT sync_status_company_id_fkey FOREIGN KEY (company_id) REFERENCES companies(id) ON DELETE CASCADE;
ALTER TABLE appointments_cache ADD CONSTRAINT appointments_cache_company_id_fkey FOREIGN KEY (company_id) REFERENCES companies(id) ON DELETE CASCADE;
INSERT INTO companies (id, name, yclients_company_id, phone, settings) VALUES
    (1, 'Салон «Ё»', 962302, '79000000001', '{"ratio": 1.10, "big": 12345678901234567890}'), (2, E'tab\there\\N', 2, NULL, NULL);
INSERT INTO clients (company_id, yclients_client_id, phone, name, tags, comment, last_visit_date)
    SELECT 1, n, (79000000000 + n)::text, 'Имя ' || n, ARRAY['a b', NULL, 'c"d'], E'line\nline', date '2026-01-01' + n
    FROM generate_series(1, 200) n;
INSERT INTO services (company_id, yclients_service_id, title, price_min, duration)
    SELECT 1, n, 'Услуга ' || n, n + 0.10, 60 FROM generate_series(1, 5) n;
INSERT INTO staff (company_id, yclients_staff_id, name, rating) VALUES (1, 1, 'Анна', 4.50), (1, 2, 'Ольга', NULL);
INSERT INTO bookings (company_id, yclients_booking_id, client_id, service_id, staff_id, datetime, duration)
    SELECT 1, n, n, 1, 1, timestamptz '2026-11-01 10:00:00+00' + n * interval '1 hour', 60 FROM generate_series(1, 20) n;
INSERT INTO staff_schedules (company_id, staff_id, date, start_time) VALUES (1, 1, '2026-11-01', '10:00');
INSERT INTO dialog_contexts (phone, company_id, context) VALUES ('79000000001', 1, '{"step": null}');
INSERT INTO reminders (company_id, booking_id, remind_at, type) VALUES (1, 1, '2026-11-01 09:00:00+00', 'sms');
INSERT INTO sync_status (company_id, entity_type) VALUES (1, 'clients');
INSERT INTO appointments_cache (company_id, cache_key, appointments, expires_at) VALUES (1, 'k', '[1.0]', 'infinity');
INSERT INTO messages (company_id, phone, message, direction, created_at)
    SELECT 1, '79000000001', 'Привет ' || n, 'inbound', timestamptz '2026-11-02 00:00:00+00' + n * interval '20 days'
    FROM generate_series(0, 7) n;
