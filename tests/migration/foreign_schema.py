"""Another project's schema, for `--metadata tests.migration.foreign_schema:Base`: models, DDL and rows.

It has a composite key, a uuid key, a text key under another collation, an enum, an identity column that is always
generated, a generated column, a bytea, ranges, a timestamptz, and two tables whose foreign keys are a cycle.
"""

from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Computed, Enum, ForeignKey, Identity, LargeBinary, Text
from sqlalchemy.dialects.postgresql import INT4RANGE, TSTZRANGE, Range
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import DateTime

MOODS = ("calm", "très pressé", "Зол")


class Base(DeclarativeBase):
    pass


class Depot(Base):
    __tablename__ = "depots"
    __table_args__ = ({"info": {"changed_at": "changed_at"}},)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text, unique=True)
    keeper: Mapped[int | None] = mapped_column(ForeignKey("workers.id"))
    changed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Worker(Base):
    __tablename__ = "workers"

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    depot: Mapped[UUID] = mapped_column(ForeignKey("depots.id"))
    mood: Mapped[str | None] = mapped_column(Enum(*MOODS, name="mood"))
    badge: Mapped[bytes | None] = mapped_column(LargeBinary)


class Article(Base):
    __tablename__ = "articles"

    code: Mapped[str] = mapped_column(Text(collation="POSIX"), primary_key=True)
    price: Mapped[Decimal]
    gross: Mapped[Decimal | None] = mapped_column(Computed("price * 1.2"))
    fits: Mapped[Range[int] | None] = mapped_column(INT4RANGE)
    sold: Mapped[Range[datetime] | None] = mapped_column(TSTZRANGE)


class Stock(Base):
    __tablename__ = "stock"

    article: Mapped[str] = mapped_column(ForeignKey("articles.code"), primary_key=True)
    depot: Mapped[UUID] = mapped_column(ForeignKey("depots.id"), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    pieces: Mapped[int]


TABLES = ("depots", "workers", "articles", "stock")

DDL = f"""
CREATE TYPE mood AS ENUM {MOODS};
CREATE TABLE depots (
    id uuid PRIMARY KEY, name text NOT NULL UNIQUE, keeper bigint, changed_at timestamptz
);
CREATE TABLE workers (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, depot uuid NOT NULL REFERENCES depots, mood mood, badge bytea
);
ALTER TABLE depots ALTER keeper TYPE integer, ADD CONSTRAINT depots_keeper FOREIGN KEY (keeper) REFERENCES workers;
CREATE TABLE articles (
    code text COLLATE "POSIX" PRIMARY KEY, price numeric NOT NULL CONSTRAINT price_is_none CHECK (price >= 0),
    gross numeric GENERATED ALWAYS AS (price * 1.2) STORED, fits int4range, sold tstzrange
);
CREATE TABLE stock (
    article text COLLATE "POSIX" NOT NULL REFERENCES articles, depot uuid NOT NULL REFERENCES depots, day date,
    pieces integer NOT NULL, PRIMARY KEY (article, depot, day)
);
"""

# The source sorts its texts otherwise, and takes a price that the target refuses.
SOURCE_DDL = f"{DDL} ALTER TABLE articles DROP CONSTRAINT price_is_none;"

ROWS = """
INSERT INTO depots (id, name, changed_at) SELECT md5(n::text)::uuid, 'depot ' || n,
    '2026-01-01 00:00:00.000001+03'::timestamptz + n * interval '1 day' FROM generate_series(1, 9) n;
INSERT INTO workers (depot, mood, badge) SELECT id, (ARRAY['calm', 'très pressé', 'Зол', NULL]::mood[])[1 + n % 4],
    decode(lpad(to_hex(n), 4, '0'), 'hex') FROM depots, generate_series(1, 3) n ORDER BY name, n;
UPDATE depots SET keeper = (SELECT min(id) FROM workers WHERE depot = depots.id) WHERE name < 'depot 8';
INSERT INTO articles (code, price, fits, sold) VALUES ('', 0, 'empty', NULL), ('a', 1.10, '[1,5)', '(,)'),
    ('B', 'NaN', '(,7)', '["2026-01-01 00:00:00+03",)'), ('b, "c"', 12345678901234567890.5, NULL, 'empty'),
    ('Ё', 0.000, '[1,2]', '[-infinity,infinity]'), ('ё.', 3, NULL, NULL);
INSERT INTO stock SELECT code, id, day, extract(day FROM day) FROM articles, depots,
    unnest(ARRAY['2026-01-01', '0044-03-15 BC', 'infinity']::date[]) day WHERE code <> 'B' AND isfinite(day);
"""
