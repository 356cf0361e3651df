-- What a Prisma schema makes of a calendar with a blog beside it, and what a Rails application has left in the database:
-- names in mixed case that need quotes, text keys, join tables without a key, timestamps without a zone, few functions.
-- Keys are of every kind. 51 tables in the schemas public, crm and "Rails App". Loads with psql into an empty database.
\ir supabase.sql
CREATE SCHEMA crm;
CREATE SCHEMA "Rails App";

-- CreateEnum
CREATE TYPE "Role" AS ENUM ('USER', 'ADMIN', 'OWNER');
CREATE TYPE "BookingStatus" AS ENUM ('cancelled', 'accepted', 'rejected', 'pending', 'awaiting host', 'it''s "off"');
CREATE TYPE "PeriodType" AS ENUM ('unlimited', 'rolling', 'RANGE');
CREATE TYPE crm."Stage" AS ENUM ('Новый', 'В работе', 'Закрыт');
CREATE TYPE crm."Phone Number" AS (kind text, "number" text, "isMain" boolean);
CREATE DOMAIN crm."Percent" AS numeric(5, 2) DEFAULT 0.00 CHECK (VALUE BETWEEN 0 AND 100);
CREATE COLLATION "C order" (provider = libc, locale = 'C');

-- CreateTable
CREATE TABLE "User" (
    "id" SERIAL NOT NULL,
    "username" TEXT,
    "email" TEXT NOT NULL,
    "emailVerified" TIMESTAMP(3),
    "authId" UUID,
    "role" "Role" NOT NULL DEFAULT 'USER',
    "timeZone" TEXT NOT NULL DEFAULT 'Europe/Moscow',
    "weekStart" INTEGER DEFAULT 1,
    "defaultScheduleId" INTEGER,
    "metadata" JSONB,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,
    CONSTRAINT "User_pkey" PRIMARY KEY ("id")
);
CREATE TABLE "UserPassword" ("hash" TEXT NOT NULL, "userId" INTEGER NOT NULL);
CREATE TABLE "Account" (
    "id" TEXT NOT NULL,
    "userId" INTEGER NOT NULL,
    "type" TEXT NOT NULL,
    "provider" TEXT NOT NULL,
    "providerAccountId" TEXT NOT NULL,
    "refresh_token" TEXT,
    "expires_at" INTEGER,
    CONSTRAINT "Account_pkey" PRIMARY KEY ("id")
);
CREATE TABLE "Session" ("id" TEXT NOT NULL, "sessionToken" TEXT NOT NULL, "userId" INTEGER NOT NULL, "expires" TIMESTAMP(3) NOT NULL, CONSTRAINT "Session_pkey" PRIMARY KEY ("id"));
CREATE TABLE "VerificationToken" ("identifier" TEXT NOT NULL, "token" TEXT NOT NULL, "expires" TIMESTAMP(3) NOT NULL);
CREATE TABLE "Team" (
    "id" SERIAL PRIMARY KEY, "name" VARCHAR(191) NOT NULL, "slug" TEXT, "parentId" INTEGER, "logo" BYTEA, "timeFormat" SMALLINT,
    "bio" TEXT COLLATE "C order", "hideBranding" BOOLEAN NOT NULL DEFAULT false, "metadata" JSONB DEFAULT '{"a": [1.10, null]}'
);
CREATE TABLE "Membership" ("id" SERIAL NOT NULL, "teamId" INTEGER NOT NULL, "userId" INTEGER NOT NULL, "accepted" BOOLEAN NOT NULL DEFAULT false, "role" "Role" NOT NULL, CONSTRAINT "Membership_pkey" PRIMARY KEY ("userId", "teamId"));
CREATE TABLE "Schedule" ("id" SERIAL PRIMARY KEY, "userId" INTEGER NOT NULL, "name" TEXT NOT NULL, "timeZone" TEXT);
CREATE TABLE "Availability" ("id" SERIAL PRIMARY KEY, "userId" INTEGER, "scheduleId" INTEGER, "days" INTEGER[], "startTime" TIME(6) NOT NULL, "endTime" TIME(6) NOT NULL, "date" DATE);
CREATE TABLE "EventType" (
    "id" SERIAL PRIMARY KEY, "title" TEXT NOT NULL, "slug" TEXT NOT NULL, "length" INTEGER NOT NULL, "userId" INTEGER, "teamId" INTEGER, "parentId" INTEGER, "scheduleId" INTEGER,
    "locations" JSONB, "periodType" "PeriodType" NOT NULL DEFAULT 'unlimited', "price" DOUBLE PRECISION NOT NULL DEFAULT 0, "currency" TEXT NOT NULL DEFAULT 'eur',
    "instantMeetingParameters" TEXT[] DEFAULT ARRAY[]::TEXT[], "limits" JSONB[], "periodStart" TIMESTAMP(3), "periodEnd" TIMESTAMPTZ(6)
);
CREATE TABLE "Booking" (
    "id" SERIAL PRIMARY KEY, "uid" TEXT NOT NULL, "userId" INTEGER, "eventTypeId" INTEGER, "title" TEXT NOT NULL, "startTime" TIMESTAMP(3) NOT NULL, "endTime" TIMESTAMP(3) NOT NULL,
    "status" "BookingStatus" NOT NULL DEFAULT 'accepted', "fromReschedule" TEXT, "responses" JSONB, "rating" REAL, "cost" DECIMAL(65, 30), "iCalSequence" BIGINT NOT NULL DEFAULT 0,
    "период" TSRANGE GENERATED ALWAYS AS (CASE WHEN "startTime" <= "endTime" THEN tsrange("startTime", "endTime") END) STORED
);
CREATE TABLE "Attendee" ("id" SERIAL PRIMARY KEY, "bookingId" INTEGER, "email" TEXT NOT NULL, "name" TEXT NOT NULL, "locale" TEXT DEFAULT 'en', "noShow" BOOLEAN DEFAULT false);
CREATE TABLE "BookingReference" ("id" SERIAL PRIMARY KEY, "type" TEXT NOT NULL, "uid" TEXT NOT NULL, "bookingId" INTEGER, "deleted" BOOLEAN);
CREATE TABLE "BookingSeat" ("id" UUID NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY, "referenceUid" TEXT NOT NULL, "bookingId" INTEGER NOT NULL, "attendeeId" INTEGER NOT NULL, "data" JSON);
CREATE TABLE "Host" ("userId" INTEGER NOT NULL, "eventTypeId" INTEGER NOT NULL, "isFixed" BOOLEAN NOT NULL DEFAULT false, "priority" SMALLINT, CONSTRAINT "Host_pkey" PRIMARY KEY ("userId", "eventTypeId"));
CREATE TABLE "SelectedCalendar" ("userId" INTEGER NOT NULL, "integration" TEXT NOT NULL, "externalId" TEXT NOT NULL, "credentialId" INTEGER, CONSTRAINT "SelectedCalendar_pkey" PRIMARY KEY ("userId", "integration", "externalId"));
CREATE TABLE "Credential" ("id" SERIAL PRIMARY KEY, "type" TEXT NOT NULL, "key" JSONB NOT NULL, "userId" INTEGER, "appId" TEXT, "invalid" BOOLEAN DEFAULT false);
CREATE TABLE "App" ("slug" TEXT NOT NULL, "dirName" TEXT NOT NULL, "keys" JSONB, "categories" TEXT[], "enabled" BOOLEAN NOT NULL DEFAULT false, CONSTRAINT "App_pkey" PRIMARY KEY ("slug"));
CREATE TABLE "Webhook" ("id" TEXT NOT NULL PRIMARY KEY, "subscriberUrl" TEXT NOT NULL, "eventTriggers" "BookingStatus"[], "active" BOOLEAN NOT NULL DEFAULT true, "secret" TEXT);
CREATE TABLE "ApiKey" ("id" TEXT NOT NULL PRIMARY KEY, "hashedKey" TEXT NOT NULL, "userId" INTEGER NOT NULL, "expiresAt" TIMESTAMP(3), "lastUsedAt" TIMESTAMP(3));
CREATE TABLE "Impersonations" ("id" BIGSERIAL PRIMARY KEY, "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, "impersonatedUserId" INTEGER NOT NULL, "impersonatedById" INTEGER NOT NULL);

-- The blog
CREATE TABLE "Post" (
    "id" TEXT NOT NULL, "title" TEXT NOT NULL, "body" TEXT, "authorId" INTEGER NOT NULL, "published" BOOLEAN NOT NULL DEFAULT false, "views" BIGINT NOT NULL DEFAULT 0,
    "score" DECIMAL(10, 4), "textSearch" TSVECTOR DEFAULT to_tsvector('simple', ''), "embedding" extensions.vector(4), "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT now(), CONSTRAINT "Post_pkey" PRIMARY KEY ("id")
);
CREATE TABLE "Post Item" ("Post Id" TEXT NOT NULL, "№" INTEGER NOT NULL, "Содержание" TEXT, "a.b" TEXT, "say ""hi""" TEXT, "100%" TEXT, "semi;colon" INTEGER DEFAULT 1, " blank " TEXT, CONSTRAINT "Post Item pkey" PRIMARY KEY ("Post Id", "№"));
CREATE TABLE "Tag" ("id" SERIAL PRIMARY KEY, "name" TEXT NOT NULL);
CREATE TABLE "Category" ("id" SERIAL PRIMARY KEY, "name" TEXT NOT NULL, "parentId" INTEGER);
CREATE TABLE "Comment" ("id" TEXT NOT NULL PRIMARY KEY, "postId" TEXT NOT NULL, "parentId" TEXT, "authorId" INTEGER, "text" TEXT NOT NULL, "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE "_PostToTag" ("A" TEXT NOT NULL, "B" INTEGER NOT NULL);
CREATE TABLE "_CategoryToPost" ("A" INTEGER NOT NULL, "B" TEXT NOT NULL, CONSTRAINT "_CategoryToPost_AB_pkey" PRIMARY KEY ("A", "B"));
CREATE TABLE "_user_eventtype" ("A" INTEGER NOT NULL, "B" INTEGER NOT NULL);
CREATE TABLE "_Friends" ("A" INTEGER NOT NULL, "B" INTEGER NOT NULL);

-- Keys of every kind
CREATE TABLE "IdBigInt" ("id" BIGINT PRIMARY KEY, "v" TEXT);
CREATE TABLE "IdBytes" ("id" BYTEA PRIMARY KEY, "v" TEXT);
CREATE TABLE "IdDecimal" ("id" DECIMAL(65, 30) PRIMARY KEY, "v" TEXT);
CREATE TABLE "IdFloat" ("id" DOUBLE PRECISION PRIMARY KEY, "v" TEXT);
CREATE TABLE "IdDateTime" ("id" TIMESTAMP(3), "zone" TIMESTAMPTZ(6), "v" TEXT, PRIMARY KEY ("id", "zone"));
CREATE TABLE "IdEnum" ("id" "BookingStatus" PRIMARY KEY, "v" TEXT);
CREATE TABLE "IdText" ("id" TEXT PRIMARY KEY, "v" TEXT);
CREATE TABLE "IdCollated" ("ID" TEXT COLLATE "C order", "id" VARCHAR(40) COLLATE "C", "Id" CHAR(3), "v" TEXT, PRIMARY KEY ("Id", "ID", "id"));
CREATE TABLE "class" ("datetime" TIMESTAMP(3) NOT NULL, "metadata" JSONB, "registry" TEXT, "import" TEXT, "def" INTEGER, "None" BOOLEAN, "__tablename__" TEXT, "id-with-dash" INTEGER PRIMARY KEY, "1st" TEXT, "self" TEXT);
CREATE TABLE "_prisma_migrations" (
    "id" VARCHAR(36) NOT NULL PRIMARY KEY, "checksum" VARCHAR(64) NOT NULL, "finished_at" TIMESTAMPTZ, "migration_name" VARCHAR(255) NOT NULL, "logs" TEXT, "rolled_back_at" TIMESTAMPTZ,
    "started_at" TIMESTAMPTZ NOT NULL DEFAULT now(), "applied_steps_count" INTEGER NOT NULL DEFAULT 0
);

-- Another schema, whose tables have the names of the first
CREATE TABLE crm."User" ("id" UUID NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY, "userId" INTEGER, "phones" crm."Phone Number"[], "discount" crm."Percent", "stage" crm."Stage" NOT NULL DEFAULT 'Новый');
CREATE TABLE crm."Deal" ("id" BIGINT GENERATED BY DEFAULT AS IDENTITY (START WITH 9007199254740993) PRIMARY KEY, "ownerId" UUID NOT NULL, "sum" MONEY, "stage" crm."Stage" NOT NULL, "history" crm."Stage"[], "closedAt" TIMESTAMPTZ);
CREATE TABLE crm."DealNote" ("dealId" BIGINT NOT NULL, "at" TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP, "text" TEXT NOT NULL, PRIMARY KEY ("dealId", "at"));

-- What Rails has left
CREATE TABLE "Rails App".schema_migrations (version character varying NOT NULL PRIMARY KEY);
CREATE TABLE "Rails App".ar_internal_metadata (key character varying NOT NULL PRIMARY KEY, value character varying, created_at timestamp(6) without time zone NOT NULL, updated_at timestamp(6) without time zone NOT NULL);
CREATE TABLE "Rails App".animals (id bigserial PRIMARY KEY, type character varying, name character varying COLLATE "C order", lock_version integer DEFAULT 0, settings jsonb DEFAULT '{}'::jsonb NOT NULL, tags character varying[] DEFAULT '{}'::character varying[], owner_type character varying, owner_id bigint, price_cents integer DEFAULT 0 NOT NULL, deleted_at timestamp(6) without time zone);
CREATE TABLE "Rails App".animals_owners (animal_id bigint NOT NULL, owner_id bigint NOT NULL);
CREATE TABLE "Rails App".owners (id bigserial PRIMARY KEY, first_name character varying, last_name character varying, full_name character varying GENERATED ALWAYS AS (coalesce(first_name, '') || ' ' || coalesce(last_name, '')) STORED, animals_count integer DEFAULT 0, ip inet, encrypted_password character varying DEFAULT ''::character varying NOT NULL);
CREATE TABLE "Rails App".active_storage_blobs (id bigserial PRIMARY KEY, key character varying NOT NULL, filename character varying NOT NULL, metadata text, byte_size bigint NOT NULL, checksum character varying, created_at timestamp(6) without time zone NOT NULL);
CREATE TABLE "Rails App".active_storage_attachments (id bigserial PRIMARY KEY, name character varying NOT NULL, record_type character varying NOT NULL, record_id bigint NOT NULL, blob_id bigint NOT NULL);
CREATE TABLE "Rails App".versions (id bigserial PRIMARY KEY, item_type character varying(190) NOT NULL, item_id bigint NOT NULL, event character varying NOT NULL, whodunnit character varying, object json, object_changes jsonb, created_at timestamp(6) without time zone);

-- CreateIndex
CREATE UNIQUE INDEX "User_email_key" ON "User"("email");
CREATE UNIQUE INDEX "User_authId_key" ON "User"("authId");
CREATE INDEX "User: name, lower" ON "User" (lower("username") text_pattern_ops, "createdAt" DESC NULLS LAST);
CREATE UNIQUE INDEX "UserPassword_userId_key" ON "UserPassword"("userId");
CREATE UNIQUE INDEX "Account_provider_providerAccountId_key" ON "Account"("provider", "providerAccountId");
CREATE UNIQUE INDEX "Session_sessionToken_key" ON "Session"("sessionToken");
CREATE UNIQUE INDEX "VerificationToken_identifier_token_key" ON "VerificationToken"("identifier", "token");
CREATE UNIQUE INDEX "Team_slug_parentId_key" ON "Team"("slug", "parentId");
CREATE UNIQUE INDEX "Membership_id_key" ON "Membership"("id");
CREATE UNIQUE INDEX "EventType_userId_slug_key" ON "EventType"("userId", "slug");
CREATE UNIQUE INDEX "Booking_uid_key" ON "Booking"("uid");
CREATE INDEX "Booking_startTime_endTime_status_idx" ON "Booking"("startTime", "endTime", "status");
CREATE INDEX "Booking_responses_idx" ON "Booking" USING GIN ("responses" jsonb_path_ops);
CREATE INDEX "Booking период" ON "Booking" USING GIST ("период");
CREATE UNIQUE INDEX "Webhook_secret_key" ON "Webhook"("secret") WHERE "active" AND "secret" <> '';
CREATE INDEX "Post_textSearch_idx" ON "Post" USING GIN ("textSearch");
CREATE INDEX "Post_embedding_idx" ON "Post" USING ivfflat ("embedding" extensions.vector_l2_ops) WITH (lists = 3);
CREATE INDEX "Post_createdAt_brin" ON "Post" USING BRIN ("createdAt");
CREATE UNIQUE INDEX "Tag_name_key" ON "Tag"("name");
CREATE INDEX "Tag_name_hash" ON "Tag" USING HASH ("name");
CREATE UNIQUE INDEX "_PostToTag_AB_unique" ON "_PostToTag"("A", "B");
CREATE INDEX "_PostToTag_B_index" ON "_PostToTag"("B");
CREATE INDEX "_CategoryToPost_B_index" ON "_CategoryToPost"("B");
CREATE UNIQUE INDEX "_user_eventtype_AB_unique" ON "_user_eventtype"("A", "B");
CREATE UNIQUE INDEX "_Friends_AB_unique" ON "_Friends"("A", "B");
CREATE INDEX index_animals_on_owner ON "Rails App".animals USING btree (owner_type, owner_id);
CREATE INDEX index_animals_alive ON "Rails App".animals (name) INCLUDE (lock_version) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX index_animals_owners ON "Rails App".animals_owners (animal_id, owner_id);
CREATE UNIQUE INDEX index_active_storage_blobs_on_key ON "Rails App".active_storage_blobs (key);
CREATE UNIQUE INDEX index_active_storage_attachments_uniqueness ON "Rails App".active_storage_attachments (record_type, record_id, name, blob_id);

-- AddForeignKey
ALTER TABLE "User" ADD CONSTRAINT "User_defaultScheduleId_fkey" FOREIGN KEY ("defaultScheduleId") REFERENCES "Schedule"("id") ON DELETE SET NULL ON UPDATE CASCADE;
ALTER TABLE "User" ADD CONSTRAINT "User_authId_fkey" FOREIGN KEY ("authId") REFERENCES auth.users ("id") ON DELETE SET NULL;
ALTER TABLE "UserPassword" ADD CONSTRAINT "UserPassword_userId_fkey" FOREIGN KEY ("userId") REFERENCES "User"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "Account" ADD CONSTRAINT "Account_userId_fkey" FOREIGN KEY ("userId") REFERENCES "User"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "Session" ADD CONSTRAINT "Session_userId_fkey" FOREIGN KEY ("userId") REFERENCES "User"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "Team" ADD CONSTRAINT "Team_parentId_fkey" FOREIGN KEY ("parentId") REFERENCES "Team"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "Membership" ADD CONSTRAINT "Membership_teamId_fkey" FOREIGN KEY ("teamId") REFERENCES "Team"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "Membership" ADD CONSTRAINT "Membership_userId_fkey" FOREIGN KEY ("userId") REFERENCES "User"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "Schedule" ADD CONSTRAINT "Schedule_userId_fkey" FOREIGN KEY ("userId") REFERENCES "User"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "Availability" ADD CONSTRAINT "Availability_scheduleId_fkey" FOREIGN KEY ("scheduleId") REFERENCES "Schedule"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "EventType" ADD CONSTRAINT "EventType_parentId_fkey" FOREIGN KEY ("parentId") REFERENCES "EventType"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "EventType" ADD CONSTRAINT "EventType_userId_fkey" FOREIGN KEY ("userId") REFERENCES "User"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "EventType" ADD CONSTRAINT "EventType_teamId_fkey" FOREIGN KEY ("teamId") REFERENCES "Team"("id") ON DELETE SET NULL ON UPDATE CASCADE;
ALTER TABLE "Booking" ADD CONSTRAINT "Booking_userId_fkey" FOREIGN KEY ("userId") REFERENCES "User"("id") ON DELETE SET NULL ON UPDATE CASCADE;
ALTER TABLE "Booking" ADD CONSTRAINT "Booking_eventTypeId_fkey" FOREIGN KEY ("eventTypeId") REFERENCES "EventType"("id") ON DELETE SET NULL ON UPDATE CASCADE;
ALTER TABLE "Booking" ADD CONSTRAINT "Booking_fromReschedule_fkey" FOREIGN KEY ("fromReschedule") REFERENCES "Booking"("uid");
ALTER TABLE "Attendee" ADD CONSTRAINT "Attendee_bookingId_fkey" FOREIGN KEY ("bookingId") REFERENCES "Booking"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "BookingSeat" ADD CONSTRAINT "BookingSeat_bookingId_fkey" FOREIGN KEY ("bookingId") REFERENCES "Booking"("id"), ADD CONSTRAINT "BookingSeat_attendeeId_fkey" FOREIGN KEY ("attendeeId") REFERENCES "Attendee"("id");
ALTER TABLE "Host" ADD CONSTRAINT "Host_userId_fkey" FOREIGN KEY ("userId") REFERENCES "User"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "Credential" ADD CONSTRAINT "Credential_appId_fkey" FOREIGN KEY ("appId") REFERENCES "App"("slug") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "Post" ADD CONSTRAINT "Post_authorId_fkey" FOREIGN KEY ("authorId") REFERENCES "User"("id") ON DELETE RESTRICT ON UPDATE CASCADE;
ALTER TABLE "Post Item" ADD CONSTRAINT "Post Item: of a post" FOREIGN KEY ("Post Id") REFERENCES "Post"("id") ON UPDATE CASCADE;
ALTER TABLE "Category" ADD CONSTRAINT "Category_parentId_fkey" FOREIGN KEY ("parentId") REFERENCES "Category"("id") ON DELETE NO ACTION ON UPDATE NO ACTION;
ALTER TABLE "Comment" ADD CONSTRAINT "Comment_postId_fkey" FOREIGN KEY ("postId") REFERENCES "Post"("id"), ADD CONSTRAINT "Comment_parentId_fkey" FOREIGN KEY ("parentId") REFERENCES "Comment"("id");
ALTER TABLE "_PostToTag" ADD CONSTRAINT "_PostToTag_A_fkey" FOREIGN KEY ("A") REFERENCES "Post"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "_PostToTag" ADD CONSTRAINT "_PostToTag_B_fkey" FOREIGN KEY ("B") REFERENCES "Tag"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "_CategoryToPost" ADD CONSTRAINT "_CategoryToPost_A_fkey" FOREIGN KEY ("A") REFERENCES "Category"("id"), ADD CONSTRAINT "_CategoryToPost_B_fkey" FOREIGN KEY ("B") REFERENCES "Post"("id");
ALTER TABLE "_user_eventtype" ADD CONSTRAINT "_user_eventtype_A_fkey" FOREIGN KEY ("A") REFERENCES "EventType"("id"), ADD CONSTRAINT "_user_eventtype_B_fkey" FOREIGN KEY ("B") REFERENCES "User"("id");
ALTER TABLE "_Friends" ADD CONSTRAINT "_Friends_A_fkey" FOREIGN KEY ("A") REFERENCES "User"("id"), ADD CONSTRAINT "_Friends_B_fkey" FOREIGN KEY ("B") REFERENCES "User"("id");
ALTER TABLE crm."User" ADD CONSTRAINT "User_userId_fkey" FOREIGN KEY ("userId") REFERENCES public."User"("id");
ALTER TABLE crm."Deal" ADD CONSTRAINT "Deal_ownerId_fkey" FOREIGN KEY ("ownerId") REFERENCES crm."User"("id") NOT VALID;
ALTER TABLE crm."DealNote" ADD CONSTRAINT "DealNote_dealId_fkey" FOREIGN KEY ("dealId") REFERENCES crm."Deal"("id");
ALTER TABLE "Rails App".active_storage_attachments ADD CONSTRAINT fk_rails_c3b3935057 FOREIGN KEY (blob_id) REFERENCES "Rails App".active_storage_blobs (id);

-- By hand
CREATE FUNCTION "updateTextSearch"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW."textSearch" := setweight(to_tsvector('simple', NEW."title"), 'A') || to_tsvector('simple', coalesce(NEW."body", ''));
    RETURN NEW;
END;
$$;
CREATE TRIGGER "Post textSearch" BEFORE INSERT OR UPDATE OF "title", "body" ON "Post" FOR EACH ROW EXECUTE FUNCTION "updateTextSearch"();
CREATE FUNCTION crm."fullName"("User") RETURNS text LANGUAGE sql STABLE AS $_$ SELECT $1."username" || ' <' || $1."email" || '>' $_$;
CREATE FUNCTION crm."fullName"(crm."User", "withStage" boolean = true) RETURNS text LANGUAGE sql STABLE AS $_$ SELECT $1.id::text || CASE WHEN "withStage" THEN ' ' || $1.stage ELSE '' END $_$;
CREATE VIEW "BookingTimeStatus" AS SELECT "id", "uid", CASE WHEN "endTime" < '2024-06-01' THEN 'past' ELSE 'ahead' END AS "timeStatus" FROM "Booking";
CREATE MATERIALIZED VIEW "PostStats" AS SELECT p."id" AS "postId", count(t."B")::integer AS "tagCount" FROM "Post" p LEFT JOIN "_PostToTag" t ON t."A" = p."id" GROUP BY p."id";
CREATE UNIQUE INDEX "PostStats_postId" ON "PostStats" ("postId");
CREATE FUNCTION "Rails App".animals_counter() RETURNS trigger LANGUAGE plpgsql SET search_path = 'Rails App' AS $$
BEGIN
    UPDATE owners SET animals_count = animals_count + CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END WHERE id = coalesce(NEW.owner_id, OLD.owner_id);
    RETURN NULL;
END
$$;
CREATE TRIGGER animals_counter AFTER INSERT OR DELETE ON "Rails App".animals_owners FOR EACH ROW EXECUTE FUNCTION "Rails App".animals_counter();
ALTER TABLE "User" ENABLE ROW LEVEL SECURITY;
CREATE POLICY "Me, and ""nobody"" else" ON "User" FOR SELECT TO authenticated USING ("authId" = auth.uid());
CREATE POLICY "Author" ON "Post" FOR ALL USING (EXISTS (SELECT FROM "User" u WHERE u."id" = "authorId" AND u."authId" = auth.uid()));
GRANT SELECT ON crm."Deal" TO service_role;
GRANT USAGE ON SCHEMA crm TO service_role;
COMMENT ON TABLE "Post Item" IS E'A part of a "post": it''s %, \\ and :name';
COMMENT ON COLUMN "Post Item"."say ""hi""" IS 'Вежливо';
COMMENT ON TYPE crm."Phone Number" IS 'Kind, number';
COMMENT ON COLUMN crm."Phone Number"."isMain" IS 'One of them';

-- Rows
CALL pg_temp.sign_up(10);
INSERT INTO "User" ("username", "email", "emailVerified", "authId", "role", "metadata", "createdAt", "updatedAt") SELECT pg_temp.odd(n), 'User' || n || '@example.test', pg_temp.odd_moment(n)::timestamp, CASE WHEN n <= 10 THEN pg_temp.uid(n) END, (enum_range(NULL::"Role"))[1 + n % 3], pg_temp.odd_json(n), '2024-01-01 00:00:00.123', '2024-02-29 23:59:59.999' FROM generate_series(1, 25) n;
INSERT INTO "UserPassword" SELECT md5(n::text), n FROM generate_series(1, 25) n;
INSERT INTO "Account" SELECT 'c' || md5(n::text), 1 + n % 25, 'oauth', (ARRAY['github', 'google'])[1 + n % 2], n, pg_temp.odd(n), 2147483647 FROM generate_series(1, 40) n;
INSERT INTO "Session" SELECT 'c' || md5('s' || n), md5(n::text), 1 + n % 25, coalesce(pg_temp.odd_moment(n)::timestamp, 'infinity') FROM generate_series(1, 30) n;
INSERT INTO "VerificationToken" SELECT pg_temp.odd(n), md5(n::text), '2024-01-01' FROM generate_series(1, 20) n;
INSERT INTO "Team" ("name", "slug", "parentId", "logo", "timeFormat", "bio", "metadata") SELECT left(pg_temp.odd(n), 191), CASE WHEN n % 3 > 0 THEN 'team' || n END, nullif(n / 2, 0), decode(repeat('00ff', n), 'hex'), 12, pg_temp.odd(n), pg_temp.odd_json(n) FROM generate_series(1, 18) n;
INSERT INTO "Membership" ("teamId", "userId", "role") SELECT t, u, 'USER' FROM generate_series(1, 6) t, generate_series(1, 10) u;
INSERT INTO "Schedule" ("userId", "name", "timeZone") SELECT n, pg_temp.odd(n), 'UTC' FROM generate_series(1, 25) n;
UPDATE "User" SET "defaultScheduleId" = "id" WHERE "id" % 2 = 0;
INSERT INTO "Availability" ("scheduleId", "days", "startTime", "endTime", "date") SELECT 1 + n % 25, CASE n % 3 WHEN 0 THEN '{}' WHEN 1 THEN '{1,NULL,7}' END::integer[], '00:00:00.000001', '24:00', (ARRAY['infinity', '2024-02-29', NULL]::date[])[1 + n % 3] FROM generate_series(1, 30) n;
INSERT INTO "EventType" ("title", "slug", "length", "userId", "teamId", "parentId", "locations", "periodType", "price", "instantMeetingParameters", "limits", "periodStart", "periodEnd")
    SELECT pg_temp.odd(n), 'slug' || n, n, 1 + n % 25, CASE WHEN n % 2 = 0 THEN 1 + n % 18 END, nullif(n / 3, 0), pg_temp.odd_json(n), (enum_range(NULL::"PeriodType"))[1 + n % 3], (ARRAY[0.1, 'NaN', '-Infinity', 1e-310, -0.0]::float8[])[1 + n % 5], CASE WHEN n % 2 = 0 THEN ARRAY[pg_temp.odd(n), NULL] END, ARRAY[pg_temp.odd_json(n)], pg_temp.odd_moment(n)::timestamp, pg_temp.odd_moment(n) FROM generate_series(1, 40) n;
INSERT INTO "Booking" ("uid", "userId", "eventTypeId", "title", "startTime", "endTime", "status", "fromReschedule", "responses", "rating", "cost", "iCalSequence")
    SELECT 'uid' || n, 1 + n % 25, 1 + n % 40, pg_temp.odd(n), coalesce(pg_temp.odd_moment(n)::timestamp, '2024-01-01'), '2024-05-01', (enum_range(NULL::"BookingStatus"))[1 + n % 6], CASE WHEN n > 1 AND n % 4 = 0 THEN 'uid' || n / 2 END, pg_temp.odd_json(n), n / 3.0, (ARRAY[1.10, 1e-30, NULL, 12345678901234567890.000])[1 + n % 4], 9007199254740993 FROM generate_series(1, 120) n;
INSERT INTO "Attendee" ("bookingId", "email", "name") SELECT 1 + n % 120, 'a' || n || '@example.test', pg_temp.odd(n) FROM generate_series(1, 150) n;
INSERT INTO "BookingReference" ("type", "uid", "bookingId", "deleted") SELECT 't', pg_temp.odd(n), n, (ARRAY[true, NULL])[1 + n % 2] FROM generate_series(1, 30) n;
INSERT INTO "BookingSeat" SELECT pg_temp.uid(n), pg_temp.odd(n), 1 + n, n, '{"z": 1,"a" : 1.0, "z":2}' FROM generate_series(1, 20) n;
INSERT INTO "Host" SELECT u, e, u = e, u FROM generate_series(1, 8) u, generate_series(1, 8) e;
INSERT INTO "SelectedCalendar" SELECT u, pg_temp.odd(n), pg_temp.odd(n + 1), NULL FROM generate_series(1, 3) u, generate_series(0, 17) n;
INSERT INTO "App" SELECT pg_temp.odd(n), 'd', pg_temp.odd_json(n), ARRAY[pg_temp.odd(n)] FROM generate_series(0, 17) n;
INSERT INTO "Credential" ("type", "key", "userId", "appId") SELECT 't', coalesce(pg_temp.odd_json(n), 'null'), n, pg_temp.odd(n) FROM generate_series(1, 20) n;
INSERT INTO "Webhook" SELECT 'w' || n, 'https://example.test/' || n, (enum_range(NULL::"BookingStatus"))[n % 3 : n % 7], n % 2 = 0, 's' || n FROM generate_series(1, 20) n;
INSERT INTO "ApiKey" SELECT 'k' || n, md5(n::text), 1 + n % 25, pg_temp.odd_moment(n)::timestamp FROM generate_series(1, 20) n;
INSERT INTO "Impersonations" ("impersonatedUserId", "impersonatedById") SELECT n, n + 1 FROM generate_series(1, 10) n;
INSERT INTO "Post" ("id", "title", "body", "authorId", "views", "score", "embedding", "createdAt") SELECT 'c' || md5('p' || n), pg_temp.odd(n), repeat(pg_temp.odd(n + 1) || ' ', 50), 1 + n % 25, 9223372036854775807, nullif(pg_temp.odd_number(n % 5), 0), CASE WHEN n % 3 > 0 THEN ('[' || n || ',0,-1,0.1]')::extensions.vector END, coalesce(pg_temp.odd_moment(n), '2024-01-01 00:00:00+00') FROM generate_series(1, 60) n;
INSERT INTO "Post Item" SELECT p."id", n, pg_temp.odd(n), pg_temp.odd(n + 1), pg_temp.odd(n + 2), pg_temp.odd(n + 3), n, pg_temp.odd(n + 4) FROM "Post" p, generate_series(0, 2) n;
INSERT INTO "Tag" ("name") SELECT pg_temp.odd(n) FROM generate_series(0, 17) n;
INSERT INTO "Category" ("name", "parentId") SELECT pg_temp.odd(n), nullif(n / 2, 0) FROM generate_series(1, 20) n;
INSERT INTO "Comment" SELECT 'k' || n, p."id", CASE WHEN n > 1 THEN 'k' || n / 2 END, 1, pg_temp.odd(n), '2024-01-01 00:00:00.5' FROM generate_series(1, 80) n JOIN "Post" p ON p."id" = 'c' || md5('p' || (1 + n % 60));
INSERT INTO "_PostToTag" SELECT p."id", t."id" FROM "Post" p, "Tag" t WHERE t."id" % 6 = 1;
INSERT INTO "_CategoryToPost" SELECT c."id", p."id" FROM "Category" c, "Post" p WHERE c."id" < 4;
INSERT INTO "_user_eventtype" SELECT n, 1 + n % 25 FROM generate_series(1, 40) n;
INSERT INTO "_Friends" SELECT a, b FROM generate_series(1, 7) a, generate_series(1, 7) b WHERE a < b;
INSERT INTO "IdBigInt" SELECT n, pg_temp.odd(abs(n % 5)) FROM unnest(ARRAY[-9223372036854775808, -1, 0, 9007199254740992, 9007199254740993, 9223372036854775807]) n;
INSERT INTO "IdBytes" SELECT decode(repeat(lpad(to_hex(n), 2, '0'), n), 'hex'), pg_temp.odd(n) FROM generate_series(0, 20) n;
INSERT INTO "IdDecimal" SELECT n, n::text FROM unnest(ARRAY[0, 1.10, -1.1, 1e-30, 99999999999999999999.5, 'NaN']::numeric[]) n;
INSERT INTO "IdFloat" SELECT n, n::text FROM unnest(ARRAY[0.1, 0.1::float8 + 0.2, 'NaN', 'Infinity', '-Infinity', 5e-324, 1e308, -0.0]::float8[]) n;
INSERT INTO "IdDateTime" SELECT n, z, 'v' FROM unnest(ARRAY['infinity', '-infinity', '0044-03-15 BC', '2024-01-01 00:00:00.001']::timestamp[]) n, unnest(ARRAY['infinity', '2024-10-27 02:30:00.000001+03', '-infinity']::timestamptz[]) z;
INSERT INTO "IdEnum" SELECT s, s::text FROM unnest(enum_range(NULL::"BookingStatus")) s;
INSERT INTO "IdText" SELECT pg_temp.odd(n), NULL FROM generate_series(0, 17) n;
INSERT INTO "IdCollated" SELECT pg_temp.odd(n), left(pg_temp.odd(n + 1), 40), (ARRAY['a', 'Ё', '  b'])[1 + n % 3], 'v' FROM generate_series(0, 40) n ON CONFLICT DO NOTHING;
INSERT INTO "class" SELECT 'infinity', pg_temp.odd_json(n), pg_temp.odd(n), 'import', n, n % 2 = 0, 't', n, '1', 's' FROM generate_series(1, 20) n;
INSERT INTO "_prisma_migrations" ("id", "checksum", "migration_name", "logs", "started_at") SELECT pg_temp.uid(n)::text, md5(n::text), n || '_init', pg_temp.odd(n), '2024-01-01 00:00:00+00' FROM generate_series(1, 5) n;
INSERT INTO crm."User" SELECT pg_temp.uid(n), CASE WHEN n % 2 = 0 THEN n END, CASE n % 3 WHEN 0 THEN '{}' WHEN 1 THEN ARRAY[ROW('дом, "1"', NULL, true), ROW('', '()', NULL), NULL]::crm."Phone Number"[] END, n * 1.10, (enum_range(NULL::crm."Stage"))[1 + n % 3] FROM generate_series(1, 20) n;
INSERT INTO crm."Deal" ("ownerId", "sum", "stage", "history", "closedAt") SELECT pg_temp.uid(1 + n % 20), n * -0.01, 'Закрыт', (enum_range(NULL::crm."Stage"))[1 : n % 4], pg_temp.odd_moment(n) FROM generate_series(1, 30) n;
INSERT INTO crm."DealNote" SELECT d."id", coalesce(pg_temp.odd_moment(n), '2024-01-01 00:00:00+00'), pg_temp.odd(n) FROM crm."Deal" d, generate_series(0, 3) n;
INSERT INTO "Rails App".schema_migrations SELECT '2024010100000' || n FROM generate_series(1, 9) n;
INSERT INTO "Rails App".ar_internal_metadata VALUES ('environment', 'production', '2024-01-01', '2024-01-01 00:00:00.000001');
INSERT INTO "Rails App".owners (first_name, last_name, ip) SELECT pg_temp.odd(n), pg_temp.odd(n + 1), '10.0.0.1/8' FROM generate_series(1, 30) n;
INSERT INTO "Rails App".animals (type, name, settings, tags, owner_type, owner_id, deleted_at) SELECT (ARRAY['Cat', 'Dog'])[1 + n % 2], pg_temp.odd(n), coalesce(pg_temp.odd_json(n), '{}'), CASE n % 3 WHEN 0 THEN '{}' WHEN 1 THEN ARRAY[pg_temp.odd(n), NULL] END, 'Owner', n, pg_temp.odd_moment(n)::timestamp FROM generate_series(1, 30) n;
INSERT INTO "Rails App".animals_owners SELECT a, 1 + a % 30 FROM generate_series(1, 30) a;
INSERT INTO "Rails App".active_storage_blobs (key, filename, metadata, byte_size, created_at) SELECT md5(n::text), pg_temp.odd(n), '{"identified":true}', n, '2024-01-01' FROM generate_series(1, 20) n;
INSERT INTO "Rails App".active_storage_attachments (name, record_type, record_id, blob_id) SELECT 'image', 'Animal', n, n FROM generate_series(1, 20) n;
INSERT INTO "Rails App".versions (item_type, item_id, event, object, object_changes) SELECT 'Animal', n, 'update', '{"a": [ 1 ], "a":2}', pg_temp.odd_json(n) FROM generate_series(1, 40) n;
REFRESH MATERIALIZED VIEW "PostStats";
-- The last number is not a row's any more.
DELETE FROM "Attendee" WHERE "id" > 145 AND "id" NOT IN (SELECT "attendeeId" FROM "BookingSeat");
DELETE FROM "Rails App".versions WHERE id > 35;
