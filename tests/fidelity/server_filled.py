"""Hazards of what the server fills in: sequences, identity and generated columns, views; and rows without a key."""

from __future__ import annotations

from random import Random

from tests.fidelity.key_kinds import FOLDED, FOLDED_TYPE
from tests.fidelity.pair import Col, Draft, Moved, Named, insert

_ID = "Column('id', {kind}, primary_key=True, autoincrement=False{more})"


def _plain(
    draft: Draft, name: str, default: str, rows: str, *, kind: str = "bigint", model: str = "BigInteger"
) -> None:
    draft.both(f"CREATE TABLE public.{name} (id {kind} PRIMARY KEY{default}, title text);")
    draft.source.append(rows)
    draft.model(name, _ID.format(kind=model, more="") + ", Column('title', Text)")
    draft.tables.append(Moved("public", name, ("id", "title")))
    change = f"UPDATE public.{name} SET title = 'changed' WHERE id = (SELECT min(id) FROM public.{name});"
    draft.changes.append(f"INSERT INTO public.{name} (title) VALUES ('new'); {change}")
    draft.back.append(change)
    draft.spoil.append(f"UPDATE public.{name} SET title = 'spoilt' WHERE id = (SELECT max(id) FROM public.{name});")


def _titles(name: str, count: int = 12) -> str:
    return f"INSERT INTO public.{name} (title) SELECT 'title ' || n FROM generate_series(1, {count}) n;"


def owned_sequence(draft: Draft, chance: Random) -> None:
    """A serial column whose sequence is ahead of the rows, and may go by steps or come from elsewhere."""
    kind = chance.choice(("serial", "serial in steps", "identity by default", "identity always", "descending"))
    draft.hazards[-1] += f" ({kind})"
    ahead = "DELETE FROM public.ahead WHERE id > 9 OR id < -9;" if chance.random() < 0.7 else ""
    if kind.startswith("identity"):
        how = kind.removeprefix("identity ").upper()
        _plain(draft, "ahead", f" GENERATED {how} AS IDENTITY", _titles("ahead") + ahead)
    elif kind == "descending":
        draft.both("CREATE SEQUENCE public.ahead_id_seq INCREMENT -1;")
        _plain(draft, "ahead", " DEFAULT nextval('public.ahead_id_seq')", _titles("ahead") + ahead)
        draft.both("ALTER SEQUENCE public.ahead_id_seq OWNED BY public.ahead.id;")
    else:
        _plain(draft, "ahead", "", _titles("ahead") + ahead, kind="serial", model="Integer")
        if kind == "serial in steps":
            place = next(n for n, text in enumerate(draft.source) if text.startswith("INSERT INTO public.ahead"))
            step = "ALTER SEQUENCE public.ahead_id_seq INCREMENT 10 CACHE 5;"
            draft.source.insert(place, step)
            draft.target.append(step)
    draft.sequences.append(Named("public", "ahead_id_seq"))


def unowned_sequence(draft: Draft, chance: Random) -> None:
    """A sequence behind a default that no column owns."""
    draft.both("CREATE SEQUENCE public.ticket_no;")
    _plain(draft, "tickets", " DEFAULT nextval('public.ticket_no')", _titles("tickets", 25))
    draft.sequences.append(Named("public", "ticket_no"))


def shared_sequence(draft: Draft, chance: Random) -> None:
    """A sequence that two tables take their keys from."""
    draft.both("CREATE SEQUENCE public.shared_ids START 100;")
    for name, count in (("cats", 3), ("dogs", 5)):
        _plain(draft, name, " DEFAULT nextval('public.shared_ids')", _titles(name, count))
    draft.sequences.append(Named("public", "shared_ids"))


def text_default_sequence(draft: Draft, chance: Random) -> None:
    """A sequence inside of a text, and one that only a function uses."""
    draft.both("CREATE SEQUENCE public.invoice_no START 5000;", "CREATE SEQUENCE public.for_a_function;")
    _plain(
        draft,
        "numbered",
        " DEFAULT 'INV-' || nextval('public.invoice_no')",
        _titles("numbered", 4),
        kind="text",
        model="Text",
    )
    draft.source.append("SELECT nextval('public.for_a_function') FROM generate_series(1, 7);")
    draft.sequences += [Named("public", "invoice_no"), Named("public", "for_a_function")]


def view(draft: Draft, chance: Random) -> None:
    """A materialized view, maybe on top of another; made before any row of the target."""
    counts = tuple(str(n * 25) for n in range(9))
    shops = tuple(f"'{'north' if n % 2 else 'south'}'" for n in range(9))
    ids = tuple(str(n) for n in range(9))
    columns = [
        Col("id", "integer", "integer", "Integer", ids),
        Col("shop", "text", "text", "Text", shops),
        Col("cents", "bigint", "bigint", "BigInteger", counts),
    ]
    draft.table("sales", columns, ["id"])
    state = chance.choice(("", " WITH NO DATA"))
    totals = (
        "CREATE MATERIALIZED VIEW public.totals AS SELECT shop, sum(cents) AS cents FROM public.sales GROUP BY shop"
    )
    draft.source.append(f"{totals};")
    draft.target.append(f"{totals}{state};")
    draft.views.append(Named("public", "totals"))
    if chance.random() < 0.4 and not state:
        draft.both("CREATE MATERIALIZED VIEW public.a_top AS SELECT max(cents) AS most FROM public.totals;")
        draft.views.append(Named("public", "a_top"))


def generated(draft: Draft, chance: Random) -> None:
    """A generated column, on both sides, or a plain one at the target, or plain in the models."""
    kind = chance.choice(("on both sides", "plain at the target", "plain in the models", "virtual at the target"))
    always = "numeric(12,2) GENERATED ALWAYS AS (price * pieces) STORED"
    if kind == "virtual at the target" and draft.offers.version < 18:
        kind = "on both sides"
    draft.hazards[-1] += f" ({kind})"
    at_target = {
        "plain at the target": "numeric(12,2)",
        "virtual at the target": always.replace("STORED", "VIRTUAL"),
    }.get(kind, always)
    model = "Numeric(12, 2)" if kind == "plain in the models" else "Numeric(12, 2), Computed('price * pieces')"
    columns = [
        Col("id", "integer", "integer", "Integer", tuple(str(n) for n in range(8))),
        Col("price", "numeric(10,2)", "numeric(10,2)", "Numeric(10, 2)", tuple(f"{n}.95" for n in range(8))),
        Col("pieces", "integer", "integer", "Integer", tuple(str(3 + n) for n in range(8))),
        Col("total", always, at_target, model),
    ]
    draft.table("lines", columns, ["id"])


def search_column(draft: Draft, chance: Random) -> None:
    """A generated tsvector that the models declare as an ordinary column, or not at all."""
    always = "tsvector GENERATED ALWAYS AS (to_tsvector('english', coalesce(title, ''))) STORED"
    known = chance.random() < 0.5
    draft.hazards[-1] += " (plain in the models)" if known else " (not in the models)"
    draft.both(f"CREATE TABLE public.articles (id integer PRIMARY KEY, title text, fts {always});")
    plain = ", Column('fts', TSVECTOR)" if known else ""
    draft.model("articles", _ID.format(kind="Integer", more="") + f", Column('title', Text){plain}")
    moved = Moved("public", "articles", ("id", "title", "fts"))
    draft.tables.append(moved)
    draft.source.append(insert(moved, ["id", "title"], [("1", "'Cats running'"), ("2", "'О кошках'"), ("3", "NULL")]))
    draft.changes.append("UPDATE public.articles SET title = 'Dogs ran' WHERE id = 1;")
    draft.back.append("UPDATE public.articles SET title = 'Dogs ran' WHERE id = 1;")
    draft.spoil.append("UPDATE public.articles SET title = 'spoilt' WHERE id = 2;")


def duplicates(draft: Draft, chance: Random) -> None:
    """A source without a primary key, at times with rows that are alike in the model's key."""
    kind = chance.choice(("none", "the whole row twice", "the key twice", "a NULL in it", "a row that is there thrice"))
    draft.hazards[-1] += f" (duplicates: {kind})"
    columns = [
        Col("who", "integer", "integer", "Integer", tuple(str(n // 3) for n in range(9))),
        Col("what", "integer", "integer", "Integer", tuple(str(n % 3) for n in range(9))),
        Col("value", "text", "text", "Text", tuple(f"'v{n}'" for n in range(9))),
    ]
    unique = "" if chance.random() < 0.6 else "UNIQUE (who, what, value)"
    moved = draft.table("settings", columns, ["who", "what"], source_key=unique)
    again = {
        "the whole row twice": [("0", "0", "'v0'")],
        "the key twice": [("0", "2", "'another'"), ("1", "1", "'another'")],
        "a NULL in it": [("NULL", "2", "'nobody'")],
        "a row that is there thrice": [("1", "0", "'v3'"), ("1", "0", "'v3'")],
    }.get(kind, [])
    if unique and kind in ("the whole row twice", "a row that is there thrice"):
        again = [(*row[:2], f"'again {n}'") for n, row in enumerate(again)]
    if again:
        draft.source.append(insert(moved, ["who", "what", "value"], again))


def many_rows(draft: Draft, chance: Random) -> None:
    """More rows than come at a time, under a key whose order may be another one than that of its texts."""
    key, model, value = chance.choice(
        (
            ('text COLLATE "C"', "Text(collation='C')", "chr(65 + n % 26) || chr(97 + n * 7 % 26) || n"),
            ("text", "Text", "CASE WHEN n % 2 = 0 THEN 'k' ELSE 'K' END || n"),
            (FOLDED_TYPE, f"Of('{FOLDED_TYPE}')", "CASE WHEN n % 3 = 0 THEN 'K' ELSE 'k' END || n"),
            ("numeric", "Numeric", "(n - 1500) * 1.10"),
            ("double precision", "Double", "(n - 1500) / 7.0"),
            ("timestamptz", "DateTime(timezone=True)", "'2024-10-26 12:00:00+00'::timestamptz + n * interval '7 min'"),
        )
    )
    draft.hazards[-1] += f" ({key})"
    if key == FOLDED_TYPE:
        draft.both(FOLDED)
    draft.both(f"CREATE TABLE public.many (id {key} PRIMARY KEY, n integer NOT NULL);")
    draft.source.append(f"INSERT INTO public.many SELECT {value}, n FROM generate_series(1, 2500) n;")
    draft.model("many", f"Column('id', {model}, primary_key=True), Column('n', Integer, nullable=False)")
    draft.tables.append(Moved("public", "many", ("id", "n")))
    draft.row_cap = 400
    changes = [
        "UPDATE public.many SET n = -n WHERE n % 100 = 3;",
        "DELETE FROM public.many WHERE n % 500 = 4;",
        f"INSERT INTO public.many SELECT {value}, n FROM generate_series(2501, 2505) n;",
    ]
    draft.changes += changes
    draft.back += changes
    draft.spoil.append("UPDATE public.many SET n = 0 WHERE n % 700 = 5; DELETE FROM public.many WHERE n % 900 = 6;")


SERVER_FILLED = {
    "more rows than come at a time": many_rows,
    "a sequence that a column owns": owned_sequence,
    "a sequence that no column owns": unowned_sequence,
    "a sequence of two tables": shared_sequence,
    "a sequence inside of a text": text_default_sequence,
    "a materialized view": view,
    "a generated column": generated,
    "a generated search column": search_column,
    "no primary key at the source": duplicates,
}
