"""Hazards of how tables hang together: schemas, inheritance, partitions, foreign keys, checks across tables."""

from __future__ import annotations

from random import Random

from tests.fidelity.pair import Col, Draft, Moved


def _numbers(count: int, first: int = 1) -> tuple[str, ...]:
    return tuple(str(n) for n in range(first, first + count))


def _words(count: int, word: str = "w") -> tuple[str, ...]:
    return tuple(f"'{word} {n}'" for n in range(count))


def _id(count: int, first: int = 1) -> Col:
    return Col("id", "integer", "integer", "Integer", _numbers(count, first))


def _note(count: int, word: str = "w") -> Col:
    return Col("note", "text", "text", "Text", _words(count, word))


def two_schemas(draft: Draft, chance: Random) -> None:
    """Tables of one name in two schemas."""
    draft.both("CREATE SCHEMA IF NOT EXISTS billing;")
    for schema, count in (("public", 6), ("billing", 9)):
        draft.table("invoices", [_id(count), _note(count, schema)], ["id"], schema=schema)


def other_schema_alone(draft: Draft, chance: Random) -> None:
    """Only the table of the other schema is in the models; the one of its name in public is not to be touched."""
    draft.both("CREATE SCHEMA IF NOT EXISTS billing;")
    draft.both("CREATE TABLE public.receipts (id integer PRIMARY KEY, note text);")
    draft.source.append("INSERT INTO public.receipts VALUES (1, 'draft'), (2, 'draft');")
    draft.table("receipts", [_id(8), _note(8, "real")], ["id"], schema="billing")


def inheritance(draft: Draft, chance: Random) -> None:
    """A parent with rows of its own, and two children."""
    draft.both("CREATE TABLE public.events (id integer PRIMARY KEY, kind text);")
    draft.both("CREATE TABLE public.events_23 (PRIMARY KEY (id)) INHERITS (public.events);")
    draft.both("CREATE TABLE public.events_24 (more text, PRIMARY KEY (id)) INHERITS (public.events);")
    draft.source.append(
        "INSERT INTO public.events VALUES (1, 'of the parent'), (2, NULL), (9, 'later'); "
        "INSERT INTO public.events_23 VALUES (3, 'a'), (4, 'b'); INSERT INTO public.events_24 VALUES (5, 'c', 'd');"
    )
    same_id = chance.random() < 0.3  # no key spans parent and child
    if same_id:
        draft.source.append("INSERT INTO public.events_23 VALUES (1, 'an id of the parent''s too');")
    for name in ("events", "events_23", "events_24"):
        columns = ("id", "kind", "more") if name == "events_24" else ("id", "kind")
        draft.model(name, _columns(columns))
        draft.tables.append(Moved("public", name, columns))
    changes = [
        "UPDATE public.events SET kind = 'changed' WHERE id IN (2, 3, 5);",
        "DELETE FROM public.events WHERE id = 4;",
        "INSERT INTO public.events_24 VALUES (7, 'new', NULL); INSERT INTO ONLY_events VALUES (8, 'new');",
    ]
    changes = [line.replace("ONLY_events", "public.events") for line in changes]
    draft.changes += changes
    draft.back += changes
    draft.spoil.append(
        "UPDATE public.events SET kind = 'spoilt' WHERE id IN (1, 3); DELETE FROM ONLY public.events WHERE id = 9;"
    )


def _columns(names: tuple[str, ...]) -> str:
    rest = "".join(f", Column({name!r}, Text)" for name in names[1:])
    return f"Column('id', Integer, primary_key=True, autoincrement=False){rest}"


def partitions(draft: Draft, chance: Random) -> None:
    """A table in partitions of partitions; at times only one side has them."""
    days = tuple(f"'2024-0{1 + n % 3}-{1 + n:02d}'" for n in range(12))
    columns = [
        _id(12),
        Col("day", "date", "date", "Date", days),
        Col("value", "numeric", "numeric", "Numeric", _numbers(12)),
    ]
    kind = chance.choice(("both", "both", "source", "target"))
    name = "readings"
    root = " PARTITION BY RANGE (day)"
    parts = (
        "CREATE TABLE public.readings_1 PARTITION OF public.readings FOR VALUES FROM (MINVALUE) TO ('2024-02-01') "
        "PARTITION BY LIST (id);\n"
        "CREATE TABLE public.readings_1a PARTITION OF public.readings_1 FOR VALUES IN (1, 2, 3);\n"
        "CREATE TABLE public.readings_1b PARTITION OF public.readings_1 DEFAULT;\n"
        "CREATE TABLE public.readings_2 (value numeric, day date NOT NULL, id integer NOT NULL);\n"
        "ALTER TABLE public.readings ATTACH PARTITION public.readings_2 FOR VALUES FROM ('2024-02-01') TO (MAXVALUE);"
    )
    draft.table(name, columns, ["id", "day"])
    for side, own in ((draft.source, "source"), (draft.target, "target")):
        if kind not in ("both", own):
            continue
        place = next(n for n, text in enumerate(side) if text.startswith('CREATE TABLE "public"."readings"'))
        side[place] = side[place].removesuffix(";") + root + ";\n" + parts
    moving = "UPDATE public.readings SET day = '2024-03-30' WHERE id = 4;"
    draft.changes.append(moving)
    draft.back.append(moving)


def list_partitions(draft: Draft, chance: Random) -> None:
    """Partitions by list with one for the rest; the models name the partitions beside their root."""
    draft.table("by_list", [_id(9), _note(9)], ["id"])
    for side in (draft.source, draft.target):
        place = next(n for n, text in enumerate(side) if text.startswith('CREATE TABLE "public"."by_list"'))
        side[place] = side[place].removesuffix(";") + (
            " PARTITION BY LIST (id);\n"
            "CREATE TABLE public.by_list_low PARTITION OF public.by_list FOR VALUES IN (1, 2, 3, 4);\n"
            "CREATE TABLE public.by_list_rest PARTITION OF public.by_list DEFAULT;"
        )
    if chance.random() < 0.5:
        for name in ("by_list_low", "by_list_rest"):
            draft.model(name, _columns(("id", "note")))
            draft.tables.append(Moved("public", name, ("id", "note")))


def cycle(draft: Draft, chance: Random) -> None:
    """Two tables whose foreign keys are a cycle, and one that refers to itself."""
    firm = Col("boss", "integer", "integer", "Integer", _numbers(7))
    worker = Col("firm", "integer NOT NULL", "integer NOT NULL", "Integer", _numbers(7))
    above = Col("above", "integer", "integer", "Integer", ("NULL", "1", "1", "2", "5", "4", "6"))
    draft.table("firms", [_id(7), firm], ["id"], still=True)
    draft.table("workers", [_id(7), worker, above], ["id"], still=True)
    how = chance.choice(("", " DEFERRABLE INITIALLY DEFERRED", " ON DELETE CASCADE"))
    draft.both(
        f"ALTER TABLE public.firms ADD FOREIGN KEY (boss) REFERENCES public.workers{how};",
        f"ALTER TABLE public.workers ADD FOREIGN KEY (firm) REFERENCES public.firms{how};",
        f"ALTER TABLE public.workers ADD FOREIGN KEY (above) REFERENCES public.workers{how};",
    )
    changes = [
        "INSERT INTO public.firms VALUES (8, NULL); INSERT INTO public.workers VALUES (8, 8, 8), (9, 8, 2);",
        "UPDATE public.firms SET boss = 9 WHERE id IN (3, 8); UPDATE public.workers SET above = NULL WHERE id = 3;",
        "DELETE FROM public.firms WHERE id = 99; DELETE FROM public.workers WHERE id = 9 AND false;",
    ]
    draft.changes += changes
    draft.back += changes
    draft.spoil.append("UPDATE public.workers SET above = 1 WHERE id = 7;")


def outside(draft: Draft, chance: Random) -> None:
    """A foreign key to a table of another schema that is not in the models, such as auth.users."""
    draft.source.append("CREATE SCHEMA auth; CREATE TABLE auth.users (id integer PRIMARY KEY, email text);")
    draft.source.append("INSERT INTO auth.users SELECT n, 'u' || n FROM generate_series(1, 9) n;")
    there = chance.choice(("without it", "with its rows", "empty"))
    if there != "without it":
        draft.target.append("CREATE SCHEMA auth; CREATE TABLE auth.users (id integer PRIMARY KEY, email text);")
    if there == "with its rows":
        draft.target.append("INSERT INTO auth.users SELECT n, 'u' || n FROM generate_series(1, 9) n;")
    draft.hazards[-1] += f" ({there} at the target)"
    reference = "integer REFERENCES auth.users"
    owner = Col("owner", reference, "integer" if there == "without it" else reference,
                "ForeignKey('auth.users.id')", _numbers(7))  # fmt: skip
    draft.table("profiles", [_id(7), owner], ["id"])
    draft.mend.append(
        "" if there != "empty" else "INSERT INTO auth.users SELECT n, 'u' || n FROM generate_series(1, 9) n;"
    )


def check_elsewhere(draft: Draft, chance: Random) -> None:
    """A CHECK that looks into a table which comes later by name."""
    draft.both(
        "CREATE TABLE public.rooms (id integer PRIMARY KEY, places integer);",
        "CREATE FUNCTION public.fits(room integer) RETURNS boolean LANGUAGE sql STABLE AS "
        "$$ SELECT EXISTS (SELECT FROM public.rooms WHERE id = room) $$;",
    )
    draft.source.append("INSERT INTO public.rooms VALUES (1, 4), (2, 10);")
    draft.model("rooms", "Column('id', Integer, primary_key=True, autoincrement=False), Column('places', Integer)")
    draft.tables.append(Moved("public", "rooms", ("id", "places")))
    checked = "integer CHECK (public.fits(room))"
    draft.table("lettings", [_id(6), Col("room", checked, checked, "Integer", ("1", "2", "1", "1", "2", "2"))], ["id"])


RELATIONS = {
    "tables of one name in two schemas": two_schemas,
    "only a table of another schema than public": other_schema_alone,
    "inheritance": inheritance,
    "partitions of partitions": partitions,
    "partitions by list": list_partitions,
    "foreign keys in a cycle": cycle,
    "a foreign key to a table outside the models": outside,
    "a CHECK that looks into another table": check_elsewhere,
}
