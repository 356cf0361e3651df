"""Makes a pair of databases from a seed: one hazard by turns, a few more by chance, and ordinary rows beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from tests.fidelity.column_kinds import KINDS, XML, Kind
from tests.fidelity.key_kinds import FOLDED, KEYS, KeyKind
from tests.fidelity.narrowing import FITTING, NARROWING
from tests.fidelity.pair import Col, Draft, Named, Offers, Pair
from tests.fidelity.relations import RELATIONS
from tests.fidelity.server_filled import SERVER_FILLED
from tests.fidelity.server_settings import SETTINGS, SHADOW
from tests.fidelity.target_traps import TARGET_TRAPS

FEATURES: dict[str, Callable[[Draft, Random], None]] = {**RELATIONS, **TARGET_TRAPS, **SERVER_FILLED}
_ROWS = 24
_NAMES = (
    "a b",
    'q"t',
    "order",
    "select",
    "100%",
    "%s",
    "{x}",
    "_0",
    "Ünï ё",
    "limit",
    "and",
    ":x",
    "a.b",
    "null",
    "Upper",
)
_TABLES = ("odd 'name'", "select", "a.b", "Über", "100%", 'q"t', "{t}", "x" * 63)
Turn = tuple[str, object]
_ORDINARY = Offers()


def turns(offers: Offers = _ORDINARY) -> list[Turn]:
    """Every hazard that can be the main one of a pair, in an order that is always the same."""
    kinds = [*KINDS, XML] if offers.xml else list(KINDS)
    listed: list[Turn] = [("feature", name) for name in FEATURES for _ in range(2)]
    listed += [("key", kind) for kind in _keys(offers)] + [("kind", kind) for kind in kinds]
    listed += [("narrowing", kind) for kind in NARROWING] + [("fitting", kind) for kind in FITTING]
    listed += [(side, setting) for side in ("source", "target") for setting in _settings(offers)]
    Random(0).shuffle(listed)
    return listed


def generate(seed: int, offers: Offers = _ORDINARY) -> Pair:
    """The pair of a seed; the same for the same seed and the same servers."""
    chance = Random(f"fidelity {seed}")
    draft = Draft(seed, offers)
    listed = turns(offers)
    turn, what = listed[seed % len(listed)]
    key = what if isinstance(what, KeyKind) else chance.choice(_keys(offers)[:30])
    first = [what] if turn in {"kind", "narrowing", "fitting"} and isinstance(what, Kind) else []
    kinds = [*first, *(kind for kind in chance.sample(KINDS, 4) if kind not in first)]
    if chance.random() < 0.1:
        kinds[-1] = chance.choice(FITTING)
    _ordinary(draft, chance, key, kinds[:4])
    features = [what] if isinstance(what, str) else []
    if chance.random() < 0.35:
        features.append(chance.choice(list(FEATURES)))
    for name in dict.fromkeys(features):
        draft.hazards.append(name)
        FEATURES[name](draft, chance)
    for side in ("source", "target"):
        chosen = [what] if turn == side else []
        if chance.random() < 0.3:
            chosen.append(chance.choice(_settings(offers)))
        for name, value in chosen:  # type: ignore[misc]
            _set(draft, side, name, value)
    if not draft.as_owner and chance.random() < 0.1:
        draft.as_owner = True
        draft.hazards.append("the commands run as the owner of the tables")
    return draft.finished()


def _keys(offers: Offers) -> list[KeyKind]:
    """The kinds of keys, those last that make an index wrong; and texts under each collation that the servers have."""
    found = [
        KeyKind(f"text key, COLLATE {name}", (("id", f'text COLLATE "{name}"', "Text"),), KEYS[2].literals)
        for name in offers.collations
    ]
    return [*found, *(kind for kind in KEYS if not kind.wrong), *(kind for kind in KEYS if kind.wrong)]


def _settings(offers: Offers) -> list[tuple[str, str]]:
    return [*SETTINGS, *(("lc_monetary", f"'{name}'") for name in offers.monetary)]


def _set(draft: Draft, side: str, name: str, value: str) -> None:
    draft.hazards.append(f"{name} {value} at the {side}")
    settings = draft.source_settings if side == "source" else draft.target_settings
    settings[name] = value
    if "shadow" in value:
        (draft.source if side == "source" else draft.target).append(SHADOW)


def _ordinary(draft: Draft, chance: Random, key: KeyKind, kinds: Sequence[Kind]) -> None:
    """A table with a key of one kind and columns of others."""
    draft.hazards.append(key.name)
    name = "things"
    if chance.random() < 0.15:
        name = chance.choice(_TABLES)
        draft.hazards.append(f"a table named {name[:20]}")
    odd = chance.sample(_NAMES, 4) if chance.random() < 0.2 else []
    if odd:
        draft.hazards.append("odd names of columns")
    columns = [
        Col(column, kind, kind, model, tuple(literal(n) for n in range(_ROWS)))
        for (column, kind, model), literal in zip(key.columns, key.literals, strict=True)
    ]
    draft.both(*key.ddl)
    for number, kind in enumerate(kinds):
        draft.hazards.append(kind.name)
        target = kind.target or kind.source
        _types(draft, kind, target)
        values = [*kind.values, "NULL"] if len(kind.values) < 23 else list(kind.values)
        column = odd[number] if odd and odd[number] not in {one.name for one in columns} else f"c{number}"
        literals = tuple(values[n % len(values)] for n in range(_ROWS))
        columns.append(Col(column, kind.source, target, kind.model or f"Of({target!r})", literals))
    names = [column for column, _, _ in key.columns]
    moved = draft.table(name, columns, names, still=bool(key.wrong))
    if key.wrong:
        draft.source.append(key.wrong.replace("{table}", Named(moved.schema, moved.name).sql.replace("'", "''")))


def _types(draft: Draft, kind: Kind, target: str) -> None:
    """The types that a column needs."""
    if target.startswith("ext."):
        draft.both(FOLDED)
    if kind.target_ddl:
        draft.source += [text for text in kind.ddl if text not in draft.source]
        draft.target += [text for text in kind.target_ddl if text not in draft.target]
    else:
        draft.both(*kind.ddl)
