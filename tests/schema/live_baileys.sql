-- The Baileys tables as a running bot has them in a target that was prepared for an earlier schema: two triggers and
-- the policies are there, three indexes are missing, one is there besides. With a login and keys.
CREATE TABLE whatsapp_auth (
    company_id text PRIMARY KEY,
    creds jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now()
);
CREATE TABLE whatsapp_keys (
    company_id text NOT NULL,
    key_type text NOT NULL,
    key_id text NOT NULL,
    value jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    expires_at timestamp with time zone,
    PRIMARY KEY (company_id, key_type, key_id)
);
CREATE INDEX idx_whatsapp_auth_company ON whatsapp_auth (company_id);
CREATE INDEX idx_whatsapp_keys_company ON whatsapp_keys (company_id);
CREATE INDEX idx_whatsapp_keys_company_type ON whatsapp_keys (company_id, key_type);
CREATE INDEX idx_whatsapp_keys_expires ON whatsapp_keys (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX idx_whatsapp_keys_type ON whatsapp_keys (key_type);
CREATE FUNCTION update_whatsapp_auth_updated_at() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN NEW.updated_at = now(); RETURN NEW; END';
CREATE FUNCTION update_whatsapp_keys_updated_at() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN NEW.updated_at = now(); RETURN NEW; END';
CREATE TRIGGER trigger_whatsapp_auth_updated_at BEFORE UPDATE ON whatsapp_auth
    FOR EACH ROW EXECUTE FUNCTION update_whatsapp_auth_updated_at();
CREATE TRIGGER trigger_whatsapp_keys_updated_at BEFORE UPDATE ON whatsapp_keys
    FOR EACH ROW EXECUTE FUNCTION update_whatsapp_keys_updated_at();
ALTER TABLE whatsapp_auth ENABLE ROW LEVEL SECURITY;
ALTER TABLE whatsapp_keys ENABLE ROW LEVEL SECURITY;
CREATE POLICY "Allow service role full access to whatsapp_auth" ON whatsapp_auth USING (true) WITH CHECK (true);
CREATE POLICY "Allow service role full access to whatsapp_keys" ON whatsapp_keys USING (true) WITH CHECK (true);
INSERT INTO whatsapp_auth (company_id, creds, updated_at)
    VALUES ('1', '{"registrationId": 12345678901234567890, "ratio": 1.10}', '2026-01-02 03:04:05.678901+00');
INSERT INTO whatsapp_keys (company_id, key_type, key_id, value, updated_at, expires_at)
    SELECT '1', 'pre-key', number::text, jsonb_build_object('number', number), '2026-01-02 03:04:05.678901+00',
        CASE WHEN number % 2 = 0 THEN timestamptz '2026-01-03 00:00:00+00' END
    FROM generate_series(1, 50) AS number;
