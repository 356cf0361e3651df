"""The ten business tables, as in Supabase, with the natural keys that the upserts need."""

from alembic import context, op

from app.common.schemas import DATA
from app.schema.revisions import named

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = {
    "companies": """
        id serial PRIMARY KEY,
        company_id integer NOT NULL,
        yclients_id integer,
        title varchar(255),
        address varchar(500),
        phone varchar(50),
        email varchar(255),
        website varchar(255),
        timezone varchar(100),
        working_hours varchar(255),
        coordinate_lat numeric(10,7),
        coordinate_lon numeric(10,7),
        currency varchar(10),
        ai_enabled boolean DEFAULT false,
        sync_enabled boolean DEFAULT true,
        created_at timestamp DEFAULT CURRENT_TIMESTAMP,
        updated_at timestamp DEFAULT CURRENT_TIMESTAMP,
        last_sync_at timestamp,
        raw_data jsonb,
        whatsapp_enabled boolean DEFAULT false,
        whatsapp_config jsonb,
        whatsapp_connected boolean DEFAULT false,
        whatsapp_phone varchar(50),
        whatsapp_connected_at timestamp,
        integration_status varchar(100),
        connected_at timestamp,
        marketplace_user_id varchar(255),
        marketplace_user_name varchar(255),
        marketplace_user_phone varchar(50),
        marketplace_user_email varchar(255),
        whatsapp_session_data jsonb,
        api_key varchar(255),
        webhook_secret varchar(255),
        last_payment_date timestamp,
        CONSTRAINT companies_company_id_unique UNIQUE (company_id)
    """,
    "clients": """
        id serial PRIMARY KEY,
        yclients_id integer NOT NULL,
        name varchar(255),
        phone varchar(50) NOT NULL,
        raw_phone varchar(50),
        email varchar(255),
        discount numeric(5,2),
        company_id integer,
        branch_ids integer[],
        tags text[],
        status varchar(50),
        source varchar(100),
        created_at timestamp DEFAULT CURRENT_TIMESTAMP,
        updated_at timestamp DEFAULT CURRENT_TIMESTAMP,
        visit_count integer DEFAULT 0,
        total_spent numeric(12,2),
        first_visit_date date,
        last_visit_date date,
        last_services text[],
        visit_history jsonb,
        preferences jsonb,
        last_sync_at timestamp,
        loyalty_level varchar(50),
        client_segment varchar(50),
        average_bill numeric(12,2),
        last_service_ids integer[],
        favorite_staff_ids integer[],
        preferred_time_slots varchar(50)[],
        blacklisted boolean DEFAULT false,
        notes text,
        created_by_ai boolean DEFAULT false,
        last_ai_interaction timestamp,
        ai_context jsonb,
        ai_messages_count integer DEFAULT 0,
        ai_satisfaction_score numeric(3,2),
        services_amount numeric(12,2),
        goods_amount numeric(12,2),
        goods_purchases jsonb,
        goods_count integer DEFAULT 0,
        CONSTRAINT clients_yclients_company_unique UNIQUE (yclients_id, company_id)
    """,
    "services": """
        id serial PRIMARY KEY,
        yclients_id integer NOT NULL,
        company_id integer,
        title varchar(500) NOT NULL,
        category_id integer,
        category_title varchar(255),
        price_min numeric(12,2),
        price_max numeric(12,2),
        discount numeric(5,2),
        duration integer,
        seance_length integer,
        is_active boolean DEFAULT true,
        is_bookable boolean DEFAULT true,
        description text,
        weight integer DEFAULT 0,
        created_at timestamp DEFAULT CURRENT_TIMESTAMP,
        updated_at timestamp DEFAULT CURRENT_TIMESTAMP,
        last_sync_at timestamp,
        raw_data jsonb,
        image_url varchar(500),
        declensions jsonb,
        CONSTRAINT services_yclients_company_unique UNIQUE (yclients_id, company_id)
    """,
    "staff": """
        id serial PRIMARY KEY,
        yclients_id integer NOT NULL,
        company_id integer,
        name varchar(255) NOT NULL,
        specialization varchar(255),
        position varchar(100),
        is_active boolean DEFAULT true,
        is_bookable boolean DEFAULT true,
        rating numeric(3,2),
        votes_count integer DEFAULT 0,
        comments_count integer DEFAULT 0,
        avatar_url text,
        information text,
        service_ids integer[],
        email varchar(255),
        phone varchar(50),
        telegram varchar(100),
        experience_years integer,
        level_name varchar(100),
        created_at timestamp DEFAULT CURRENT_TIMESTAMP,
        updated_at timestamp DEFAULT CURRENT_TIMESTAMP,
        last_sync_at timestamp,
        raw_data jsonb,
        declensions jsonb,
        CONSTRAINT staff_yclients_company_unique UNIQUE (yclients_id, company_id)
    """,
    "staff_schedules": """
        id bigserial PRIMARY KEY,
        staff_id integer NOT NULL,
        staff_name varchar(255),
        date date NOT NULL,
        is_working boolean DEFAULT true,
        work_start time,
        work_end time,
        working_hours varchar(50),
        last_updated timestamp DEFAULT CURRENT_TIMESTAMP,
        has_booking_slots boolean DEFAULT true,
        CONSTRAINT staff_schedules_staff_date_unique UNIQUE (staff_id, date)
    """,
    "bookings": """
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        yclients_record_id integer NOT NULL,
        company_id integer,
        client_phone varchar(50),
        client_name varchar(255),
        client_yclients_id integer,
        staff_id integer,
        staff_name varchar(255),
        services text[],
        service_ids integer[],
        datetime timestamp NOT NULL,
        date date,
        duration integer,
        cost numeric(12,2),
        prepaid numeric(12,2),
        status varchar(50),
        visit_attendance integer,
        comment text,
        online boolean DEFAULT false,
        record_hash varchar(255),
        created_at timestamp DEFAULT CURRENT_TIMESTAMP,
        updated_at timestamp DEFAULT CURRENT_TIMESTAMP,
        synced_at timestamp,
        created_by_bot boolean DEFAULT false,
        CONSTRAINT bookings_yclients_company_unique UNIQUE (yclients_record_id, company_id)
    """,
    "dialog_contexts": """
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        user_id varchar(255) NOT NULL,
        state varchar(100),
        data jsonb,
        messages jsonb,
        created_at timestamp DEFAULT CURRENT_TIMESTAMP,
        updated_at timestamp DEFAULT CURRENT_TIMESTAMP,
        client_id integer,
        last_activity timestamp,
        message_count integer DEFAULT 0,
        last_booking_id uuid,
        session_type varchar(50),
        context_metadata jsonb,
        company_id integer,
        CONSTRAINT dialog_contexts_user_id_unique UNIQUE (user_id)
    """,
    "messages": """
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        company_id integer,
        client_phone varchar(50),
        direction varchar(20),
        content text,
        message_type varchar(50),
        status varchar(50),
        created_at timestamp DEFAULT CURRENT_TIMESTAMP,
        metadata jsonb
    """,
    "actions": """
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        company_id integer,
        client_phone varchar(50),
        action_type varchar(100),
        action_data jsonb,
        status varchar(50),
        created_at timestamp DEFAULT CURRENT_TIMESTAMP,
        executed_at timestamp
    """,
    "company_sync_status": """
        id serial PRIMARY KEY,
        company_id integer NOT NULL,
        last_sync_at timestamp,
        last_sync_success boolean,
        last_sync_error text,
        clients_synced integer DEFAULT 0,
        services_synced integer DEFAULT 0,
        staff_synced integer DEFAULT 0,
        bookings_synced integer DEFAULT 0,
        created_at timestamp DEFAULT CURRENT_TIMESTAMP,
        updated_at timestamp DEFAULT CURRENT_TIMESTAMP
    """,
}

INDEXES = (
    "CREATE INDEX idx_companies_company_id ON companies (company_id)",
    "CREATE INDEX idx_companies_yclients_id ON companies (yclients_id)",
    "CREATE INDEX idx_clients_company_id ON clients (company_id)",
    "CREATE INDEX idx_clients_last_visit_date ON clients (last_visit_date)",
    "CREATE INDEX idx_clients_phone ON clients (phone)",
    "CREATE INDEX idx_clients_yclients_id ON clients (yclients_id)",
    "CREATE INDEX idx_services_company_id ON services (company_id)",
    "CREATE INDEX idx_services_is_active ON services (is_active)",
    "CREATE INDEX idx_services_yclients_id ON services (yclients_id)",
    "CREATE INDEX idx_staff_company_id ON staff (company_id)",
    "CREATE INDEX idx_staff_is_active ON staff (is_active)",
    "CREATE INDEX idx_staff_yclients_id ON staff (yclients_id)",
    "CREATE INDEX idx_staff_schedules_date ON staff_schedules (date)",
    "CREATE INDEX idx_staff_schedules_staff_date ON staff_schedules (staff_id, date)",
    "CREATE INDEX idx_staff_schedules_staff_id ON staff_schedules (staff_id)",
    "CREATE INDEX idx_bookings_client_phone ON bookings (client_phone)",
    "CREATE INDEX idx_bookings_company_id ON bookings (company_id)",
    "CREATE INDEX idx_bookings_date ON bookings (date)",
    "CREATE INDEX idx_bookings_datetime ON bookings (datetime)",
    "CREATE INDEX idx_bookings_yclients_record_id ON bookings (yclients_record_id)",
    "CREATE INDEX idx_dialog_contexts_company_id ON dialog_contexts (company_id)",
    "CREATE INDEX idx_dialog_contexts_last_activity ON dialog_contexts (last_activity)",
    "CREATE INDEX idx_dialog_contexts_user_id ON dialog_contexts (user_id)",
    "CREATE INDEX idx_messages_client_phone ON messages (client_phone)",
    "CREATE INDEX idx_messages_company_id ON messages (company_id)",
    "CREATE INDEX idx_messages_created_at ON messages (created_at)",
    "CREATE INDEX idx_actions_client_phone ON actions (client_phone)",
    "CREATE INDEX idx_actions_company_id ON actions (company_id)",
    "CREATE INDEX idx_actions_status ON actions (status)",
    "CREATE INDEX idx_company_sync_status_company_id ON company_sync_status (company_id)",
)

# Found as one list before anything is made, in place of the first "already exists".
REFUSE_OTHER_TABLES = f"""
DO $$
DECLARE
    taken text;
BEGIN
    SELECT string_agg(relname, ', ' ORDER BY relname) INTO taken
    FROM pg_class
    WHERE relnamespace = '{DATA}'::regnamespace AND relname = ANY (ARRAY{list(TABLES)});
    IF taken IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'BD001', MESSAGE = 'the database already has tables of these names, which '
            'no revision made (' || taken || '); nothing was changed';
    END IF;
END $$
"""

REFUSE_DATA_LOSS = f"""
DO $$
DECLARE
    name text;
    holds boolean;
    filled text[] = '{{}}';
BEGIN
    -- A policy that hides rows from this role is to be an error, not an empty table.
    SET LOCAL row_security = off;
    FOREACH name IN ARRAY ARRAY{list(TABLES)} LOOP
        -- Nothing is to slip in between the look and the drop.
        EXECUTE format('LOCK TABLE {DATA}.%I IN ACCESS EXCLUSIVE MODE', name);
        EXECUTE format('SELECT EXISTS (SELECT FROM {DATA}.%I)', name) INTO holds;
        IF holds THEN
            filled = filled || name;
        END IF;
    END LOOP;
    IF filled <> '{{}}' THEN
        RAISE EXCEPTION USING ERRCODE = 'BD001', MESSAGE = 'these tables hold rows, which the downgrade would drop: '
            || array_to_string(filled, ', ') || '; nothing was changed. To drop them with their rows: '
            'alembic -x allow-data-loss=yes downgrade ...';
    END IF;
END $$
"""


def upgrade() -> None:
    op.execute(named(REFUSE_OTHER_TABLES))
    for name, definition in TABLES.items():
        op.execute(f"CREATE TABLE {name} ({definition})")
    for statement in INDEXES:
        op.execute(statement)


def downgrade() -> None:
    if context.get_x_argument(as_dictionary=True).get("allow-data-loss") != "yes":
        op.execute(named(REFUSE_DATA_LOSS))
    op.execute(f"DROP TABLE {', '.join(TABLES)}")
