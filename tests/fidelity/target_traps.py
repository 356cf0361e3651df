"""Hazards that only the target has: triggers, rules, row-level security, keys that are none, rows that it refuses."""

from __future__ import annotations

from random import Random

from tests.fidelity.pair import Col, Draft

_ROWS = 8


def _table(draft: Draft, name: str, *, target_key: str | None = None) -> None:
    ids = tuple(str(n) for n in range(1, _ROWS + 1))
    notes = tuple(f"'{'Big' if n % 2 else 'small'} {n}'" for n in range(_ROWS))
    columns = [Col("id", "integer", "integer", "Integer", ids), Col("note", "text", "text", "Text", notes)]
    draft.table(name, columns, ["id"], target_key=target_key)


def _trigger(draft: Draft, table: str, when: str, body: str, *, each: str = "ROW", enabled: str = "") -> None:
    number = sum("CREATE FUNCTION public.trap_" in text for text in draft.target)
    draft.target.append(
        f"CREATE FUNCTION public.trap_{number}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$;\n"
        f"CREATE TRIGGER trap_{number} {when} ON public.{table} FOR EACH {each} "
        f"EXECUTE FUNCTION public.trap_{number}();"
    )
    if enabled:
        draft.target.append(f"ALTER TABLE public.{table} ENABLE {enabled} TRIGGER trap_{number};")


def changing_trigger(draft: Draft, chance: Random) -> None:
    """A BEFORE trigger that changes what is written."""
    _table(draft, "changed")
    when = chance.choice(("BEFORE INSERT", "BEFORE UPDATE", "BEFORE INSERT OR UPDATE"))
    _trigger(draft, "changed", when, "new.note := lower(new.note); RETURN new;", enabled=chance.choice(("", "ALWAYS")))
    draft.hazards[-1] += f" ({when})"


def hiding_trigger(draft: Draft, chance: Random) -> None:
    """A BEFORE INSERT trigger that leaves rows out without an error."""
    _table(draft, "hidden")
    _trigger(draft, "hidden", "BEFORE INSERT", "IF new.id % 3 = 0 THEN RETURN NULL; END IF; RETURN new;")


def adding_trigger(draft: Draft, chance: Random) -> None:
    """An AFTER INSERT trigger that adds rows to another table of the models."""
    _table(draft, "users")
    _table(draft, "audit")
    each = chance.choice(("ROW", "STATEMENT"))
    row = "new.id" if each == "ROW" else "(SELECT count(*) FROM public.users)"
    _trigger(
        draft,
        "users",
        chance.choice(("AFTER INSERT", "AFTER INSERT OR UPDATE")),
        f"INSERT INTO public.audit VALUES (100 + {row}, 'user'); RETURN NULL;",
        each=each,
    )
    draft.hazards[-1] += f" (for each {each.lower()})"


def keeping_trigger(draft: Draft, chance: Random) -> None:
    """A BEFORE DELETE trigger that keeps rows without an error."""
    _table(draft, "kept")
    _trigger(draft, "kept", "BEFORE DELETE", "RETURN NULL;")


def refusing_trigger(draft: Draft, chance: Random) -> None:
    """A trigger that raises an error for some rows."""
    _table(draft, "raised")
    _trigger(draft, "raised", "BEFORE INSERT", "IF new.id = 4 THEN RAISE 'not this one'; END IF; RETURN new;")
    draft.mend.append("ALTER TABLE public.raised DISABLE TRIGGER USER;")


def moving_trigger(draft: Draft, chance: Random) -> None:
    """A BEFORE INSERT trigger that gives rows another key."""
    _table(draft, "renumbered")
    _trigger(draft, "renumbered", "BEFORE INSERT", "new.id := new.id + 1000; RETURN new;")


def rule(draft: Draft, chance: Random) -> None:
    """A rule that does something else in place of an INSERT, UPDATE or DELETE, or beside it."""
    _table(draft, "ruled")
    event, what = chance.choice(
        (
            ("INSERT", "DO INSTEAD NOTHING"),
            ("INSERT", "DO ALSO UPDATE public.ruled SET note = 'by a rule' WHERE id = new.id"),
            ("UPDATE", "DO INSTEAD NOTHING"),
            ("DELETE", "DO INSTEAD NOTHING"),
        )
    )
    draft.hazards[-1] += f" (ON {event} {what.partition(' public')[0]})"
    draft.target.append(f"CREATE RULE trap AS ON {event} TO public.ruled {what};")


def row_security(draft: Draft, chance: Random) -> None:
    """Policies that hold for the tables' owner too, who runs the commands."""
    draft.as_owner = True
    _table(draft, "todos")
    policies = chance.choice(
        (
            ("FOR SELECT USING (id % 2 = 0)", "FOR INSERT WITH CHECK (true)"),
            ("FOR ALL USING (id % 2 = 0) WITH CHECK (true)",),
            ("FOR ALL USING (true) WITH CHECK (id <> 4)",),
            ("FOR SELECT USING (true)", "FOR INSERT WITH CHECK (true)"),
            ("FOR SELECT USING (true)",),
        )
    )
    draft.hazards[-1] += f" ({'; '.join(policies)})"
    draft.target.append("ALTER TABLE public.todos ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;")
    draft.target += [f"CREATE POLICY p{n} ON public.todos {policy};" for n, policy in enumerate(policies)]


def no_key(draft: Draft, chance: Random) -> None:
    """The target has no usable unique index on the model's key."""
    kind = chance.choice(("none", "deferrable", "partial", "over an expression", "a wider one"))
    constraint = "UNIQUE (id) DEFERRABLE" if kind == "deferrable" else ""
    if kind == "deferrable":
        constraint = "PRIMARY KEY (id) DEFERRABLE INITIALLY DEFERRED"
    _table(draft, "keyless", target_key=constraint)
    draft.hazards[-1] += f" ({kind})"
    index = {"partial": "(id) WHERE id > 2", "over an expression": "((id + 0))", "a wider one": "(id, note)"}.get(kind)
    if index:
        draft.target.append(f"CREATE UNIQUE INDEX ON public.keyless {index};")


def refused(draft: Draft, chance: Random) -> None:
    """A constraint of the target that some rows break."""
    _table(draft, "picky")
    constraint = chance.choice(("CHECK (id <> 4)", "UNIQUE (note)", "CHECK (note IS NOT NULL)"))
    if constraint == "UNIQUE (note)":
        draft.source.append("UPDATE public.picky SET note = 'the same' WHERE id IN (3, 4, 5);")
    elif constraint != "CHECK (id <> 4)":
        draft.source.append("UPDATE public.picky SET note = NULL WHERE id IN (3, 5);")
    draft.target.append(f"ALTER TABLE public.picky ADD CONSTRAINT picky_only {constraint};")
    draft.mend.append("ALTER TABLE public.picky DROP CONSTRAINT picky_only;")
    draft.hazards[-1] += f" ({constraint})"


def swapped(draft: Draft, chance: Random) -> None:
    """Values of a unique column that change places."""
    deferred = chance.choice(("", " DEFERRABLE INITIALLY DEFERRED"))
    _table(draft, "ranked")
    for side in (draft.source, draft.target):
        side.append(f"ALTER TABLE public.ranked ADD CONSTRAINT ranked_note UNIQUE (note){deferred};")
    swap = "".join(
        f"UPDATE public.ranked SET note = '{note}' WHERE id = {row};"
        for note, row in (("aside", 5), ("small 4", 6), ("Big 5", 5))
    )
    draft.changes.append(swap)
    draft.back.append(swap)
    # The general changes would make two rows alike.
    for lines in (draft.changes, draft.back, draft.spoil):
        lines[:] = [line for line in lines if not line.startswith('UPDATE "public"."ranked"')]


def own_columns(draft: Draft, chance: Random) -> None:
    """The target's columns have another order, with dropped ones between and one of its own that has a default."""
    _table(draft, "shuffled")
    place = next(n for n, text in enumerate(draft.target) if text.startswith('CREATE TABLE "public"."shuffled"'))
    own = chance.choice(
        ("timestamptz NOT NULL DEFAULT now()", "text DEFAULT 'own'", "bigint GENERATED ALWAYS AS IDENTITY")
    )
    draft.target[place] = (
        f"CREATE TABLE public.shuffled (gone integer, note text, own {own}, gone_too text, id integer PRIMARY KEY);\n"
        "ALTER TABLE public.shuffled DROP gone, DROP gone_too;"
    )


TARGET_TRAPS = {
    "a trigger that changes rows": changing_trigger,
    "a trigger that hides rows": hiding_trigger,
    "a trigger that adds rows": adding_trigger,
    "a trigger that keeps rows": keeping_trigger,
    "a trigger that refuses rows": refusing_trigger,
    "a trigger that renumbers rows": moving_trigger,
    "a rule": rule,
    "row-level security on the owner": row_security,
    "no usable key at the target": no_key,
    "rows that the target refuses": refused,
    "unique values that change places": swapped,
    "columns of the target's own": own_columns,
}
