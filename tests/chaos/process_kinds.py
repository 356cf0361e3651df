"""The commands that are ended at random moments: what each works on, and what is to be so in between and at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

from app.stores.postgres.database_url import shown_url
from tests.chaos import databases
from tests.chaos.command import Botdata
from tests.chaos.databases import Postgres, Rows
from tests.chaos.moments import Lengths, measure
from tests.chaos.scenario import Chaos
from tests.chaos.transcript import KEY
from tests.schema import phase08
from tests.support.page_server import PageServer

_CLIENTS = 1000
_ROW_CAP = 100
_SPOILT = """
UPDATE clients SET notes = 'spoilt' WHERE id % 7 = 2 AND visit_count IS DISTINCT FROM 777;
DELETE FROM clients WHERE id % 41 = 5; UPDATE services SET title = 'spoilt' WHERE id % 3 = 0;
DELETE FROM whatsapp_keys WHERE key_id LIKE '%7';
"""


_MENDED = "ALTER TABLE clients DROP CONSTRAINT refused"


@dataclass(frozen=True)
class Kind:
    """A command.

    Attributes:
        template: the database that its target is a copy of.
        code: its exit code when nothing disturbs it: 1 where rows are refused.
        over: "REST" or "connection"; "" for one that asks no source.
    """

    words: str
    template: str
    code: int
    over: str = ""

    @property
    def name(self) -> str:
        """As shown."""
        return f"{self.words} {f'({self.over})' if self.over else ''}".strip()


_FIRES = (
    "source-triggers-unseen",
    *(f"source-trigger:{one}.trigger_{one}_updated_at" for one in ("whatsapp_auth", "whatsapp_keys")),
)
COPY, SYNC = "copy --with-baileys", "sync --with-baileys"
REVERSE = " ".join(("sync --reverse --with-baileys", *(f"--accept {one}" for one in _FIRES)))
REPLACE, REPLAY = "schema replace --yes --pg-dump none", "quarantine replay"
KINDS = [
    Kind(COPY, "empty", 1, "REST"),
    Kind(COPY, "empty", 1, "connection"),
    Kind(SYNC, "moved", 1, "REST"),
    Kind(REVERSE, "ahead", 0, "REST"),
    Kind(REPLAY, "mended", 0),
    Kind(REPLACE, "phase08", 0),
    Kind(SYNC, "moved", 1, "connection"),
    Kind(REVERSE, "ahead", 0, "connection"),
    Kind("verify --with-baileys", "synced", 1, "REST"),
    Kind("verify --with-baileys", "synced", 1, "connection"),
    Kind("verify --fix --with-baileys", "spoilt", 1, "REST"),
    Kind("verify --fix --with-baileys", "spoilt", 1, "connection"),
]

# Of each template: the one before it, a script that is run on it, and a command then.
_TEMPLATES = {
    "moved": ("empty", "", COPY),
    "mended": ("moved", _MENDED, ""),
    "ahead": ("mended", "", REPLAY),  # and then the changes: the way back begins at a target that held every row
    "synced": ("moved", "", SYNC),
    "spoilt": ("synced", _SPOILT, ""),
}


class Stage:
    """A source that has changed since it was moved, and the targets that commands begin from."""

    def __init__(
        self,
        chaos: Chaos,
        kinds: Sequence[Kind],
        targets: Postgres,
        sources: Postgres,
        *,
        slow_address: Callable[[str], str] | None = None,
    ) -> None:
        """Make them on two servers, or one.

        Args:
            slow_address: where commands that are to be disturbed find a database of the target's server.
        """
        self._chaos = chaos
        self._kinds = kinds
        self.slow_address = slow_address or targets.address
        self.server, self.sources = targets, sources
        self._lengths: dict[Kind, Lengths] = {}
        self._made: set[str] = set()
        self._typical = Lengths(0.6, 1.0)
        self._clean_up = ExitStack()
        with ExitStack() as clean_up:
            self.source = databases.migrated(sources, "source")
            empty = databases.migrated(targets, "empty")
            self._catalog = databases.catalog(empty)
            with psycopg.connect(empty) as connection:
                connection.execute(databases.REFUSING)
            databases.fill(self.source, _CLIENTS)
            self.before = databases.texts(self.source)
            databases.clone(sources, "source", "source_before")
            with psycopg.connect(self.source) as connection:
                connection.execute(databases.CHANGES)
            self.refused = databases.refused_keys(self.source)
            self.refused_before = databases.refused_keys(self.sources.url("source_before"))
            self.rows = databases.texts(self.source)
            self.pages = clean_up.enter_context(_pages(self.source))
            phase08.fill(databases.clone(targets, "template0", "phase08"))
            self.phase08 = phase08.texts(self.server.url("phase08"), *phase08.TABLES)
            for kind in kinds:
                self._make(kind)
            self._clean_up = clean_up.pop_all()

    def measure(self, at_work: Callable[..., Iterable[Any]] = map) -> None:
        """Run each command once undisturbed, to know its length.

        Args:
            at_work: as `map`; how many run at a time then is how many are to.
        """

        def length(number: int, kind: Kind) -> Lengths:
            with self.place(kind, -1 - number) as place:
                lengths, done = measure(place.slow_botdata, place.target, *place.words)
                assert done.code == kind.code, f"{kind.name}: {done.out}"
                wrong = place.after()
                assert wrong == (0, []), (kind.name, wrong)
            return lengths

        self._lengths = dict(zip(self._kinds, at_work(length, range(len(self._kinds)), self._kinds), strict=True))

    def _make(self, kind: Kind) -> str:
        """The database that the kind's targets are copies of, made once."""
        name = kind.template if kind.template in {"empty", "phase08"} else f"{kind.template}_{kind.over or 'REST'}"
        if name not in {"empty", "phase08", *self._made}:
            self._made.add(name)
            earlier, script, words = _TEMPLATES[kind.template]
            url = databases.clone(self.server, self._make(replace(kind, template=earlier)), name)
            with psycopg.connect(url) as connection:
                connection.execute(script)
            if words:
                self._carry_out(kind, words, name)
            if kind.template == "ahead":
                with psycopg.connect(url) as connection:
                    connection.execute(databases.CHANGES)
        return name

    def _carry_out(self, kind: Kind, words: str, name: str) -> None:
        with ExitStack() as stack:
            source, rest_url = self.source, self.pages.url
            if words == COPY:
                source = self.sources.url("source_before")
                rest_url = stack.enter_context(_pages(source)).url
            made = replace(kind, words=words, code=int(words != REPLAY))
            botdata = self.botdata(made, name, source, rest_url, self._chaos.directory)
            target = self.server.url(name)
            self._typical, done = measure(botdata, target, *words.split())
            assert done.code == made.code, done.out
            assert databases.wait_for_end(target)
            self._rename_source(target, source, rest_url, self.source, self.pages.url)

    def botdata(self, kind: Kind, name: str, source: str, rest_url: str, directory: Path) -> Botdata:
        """The command with its settings."""
        settings = {
            "SUPABASE_URL": rest_url,
            "SUPABASE_KEY": KEY,
            "DATABASE_URL": self.server.address(name),
        }
        if kind.over == "connection":
            settings["MIGRATION_SOURCE"] = self._address(source)
        if "--reverse" in kind.words:
            settings["USE_REPOSITORY_PATTERN"] = "true"
        return Botdata(directory, settings, self._chaos.transcript)

    def _address(self, source: str) -> str:
        return self.sources.address(str(conninfo_to_dict(source)["dbname"]))

    def lengths(self, kind: Kind) -> Lengths:
        """How long the command takes undisturbed."""
        return self._lengths.get(kind, self._typical)

    @contextmanager
    def place(self, kind: Kind, number: int, tablespace: str = "pg_default") -> Iterator[Place]:
        """A target, and for the way back a source, of the command's own."""
        name = f"target_{number}"
        directory = self._chaos.directory / name
        directory.mkdir()
        with ExitStack() as stack:
            stack.callback(databases.drop, self.server, name)
            target = databases.clone(self.server, self._make(kind), name, tablespace=tablespace)
            source, rest_url = self.source, self.pages.url
            if "--reverse" in kind.words:
                stack.callback(databases.drop, self.sources, f"source_{number}")
                source = databases.clone(self.sources, "source_before", f"source_{number}")
                rest_url = stack.enter_context(_pages(source)).url
                self._rename_source(target, self.source, self.pages.url, source, rest_url)
            botdata = self.botdata(kind, name, source, rest_url, directory)
            yield Place(self, kind, botdata, source, name, databases.catalog(target))

    def _rename_source(self, target: str, source: str, rest_url: str, new_source: str, new_rest_url: str) -> None:
        """Let a target take a copy of its source, whose rows have the same xmin, for the one that it was moved from."""
        old, new = (shown_url(self._address(url)) for url in (source, new_source))
        labels = {old: new, urlsplit(rest_url).netloc: urlsplit(new_rest_url).netloc}
        with psycopg.connect(target) as connection:
            for label in labels.items():
                connection.execute("UPDATE botdata.runs SET source = replace(source, %s, %s)", label)

    def left_at_source(self) -> list[str]:
        """What the commands have changed or left at the source that they only read."""
        found = [] if databases.texts(self.source) == self.rows else ["the source is changed"]
        if not databases.wait_for_end(self.source):
            found.append("sessions are left at the source")
        return found

    @property
    def migrated_catalog(self) -> list[tuple[str, str, str]]:
        """The objects of a database at head."""
        return self._catalog

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._clean_up.close()


@dataclass(frozen=True)
class Place:
    """One command's source and target.

    Attributes:
        name: of the target's database.
        catalog: the target's objects before it.
    """

    stage: Stage
    kind: Kind
    botdata: Botdata
    source: str
    name: str
    catalog: list[tuple[str, str, str]]

    @property
    def target(self) -> str:
        """The URL of the target's database, wherever its server is now."""
        return self.stage.server.url(self.name)

    @property
    def slow_botdata(self) -> Botdata:
        """The command for a run that is disturbed."""
        address = self.stage.slow_address(self.name)
        return replace(self.botdata, settings={**self.botdata.settings, "DATABASE_URL": address})

    @property
    def words(self) -> list[str]:
        """The command's."""
        return self.kind.words.split()

    def between(self) -> list[str]:
        """What is wrong after it was ended, before it is run again."""
        if not databases.wait_for_end(self.target):
            return ["the server still has its sessions"]
        if self.kind.words == REPLACE:
            return self._replaced_or_not()
        if self.kind.words == COPY:
            strange = databases.difference(self._expected, databases.texts(self.target)).extra
            wrong = [f"rows that the source does not have: {dict(strange)}"] if strange else []
            return wrong + databases.miscounted(self.target)
        return []

    def after(self) -> tuple[int, list[str]]:
        """Rows lost, and what else is wrong, after it has ended well."""
        wrong = databases.left_behind(self.target)
        if self.kind.words == REPLACE:
            return 0, wrong + self._replaced_or_not() + self._session_touched()
        if "--reverse" in self.kind.words:
            # Over REST they cannot be raised, which the command says.
            wrong += databases.left_behind(self.source, sequences=self.kind.over != "REST")
        if databases.catalog(self.target) != self.catalog:
            wrong.append("the target's objects are not those that were there before")
        found = databases.difference(self._expected, self._found())
        kept = [("clients", key) for key in self._refused]
        if (quarantined := databases.quarantined(self.target)) != sorted(kept):
            wrong.append(f"{len(quarantined)} rows in quarantine, not the {len(kept)} refused")
        if self.kind.words == COPY:
            wrong += databases.miscounted(self.target)
        return found.missing.total(), wrong + ([f"rows: {found}"] if found else [])

    @property
    def _refused(self) -> list[str]:
        """Keys of the clients that the target does not take."""
        return [] if self.kind.template in {"mended", "ahead"} else sorted(self.stage.refused)

    @property
    def _expected(self) -> Rows:
        """What the side that is written to is to hold, but for rows that are refused."""
        if self.kind.template == "mended":
            return self.stage.before
        if self.kind.template == "ahead":
            return databases.texts(self.target)
        return databases.without(self.stage.rows, self.stage.refused)

    def _found(self) -> Rows:
        rows = databases.texts(self.source if "--reverse" in self.kind.words else self.target)
        # A row that was taken once and is refused now stays as it was.
        return databases.without(rows, set(self._refused))

    def _replaced_or_not(self) -> list[str]:
        """Either the old schema with all its rows, or the new one, and the backup that says it is complete."""
        with psycopg.connect(self.target) as connection:
            new = connection.execute("SELECT to_regclass('alembic_version') IS NOT NULL").fetchone() == (True,)
        if not new:
            same = phase08.texts(self.target, *phase08.TABLES) == self.stage.phase08
            return [] if same else ["the old schema is there, and not all of its rows"]
        wrong = []
        objects, head = set(databases.catalog(self.target)), set(self.stage.migrated_catalog)
        if head - objects or objects - head - set(self.catalog):  # an index of the session tables may stay
            wrong.append("the new schema is not that of a database at head")
        rows = sum(len(rows) for table, rows in self.stage.phase08.items() if table != "messages")  # its partitions'
        backups = [path.parent for path in self.botdata.directory.glob("botdata-backup-*/README.md")]
        if not any(sum(path.read_bytes().count(b"\n") for path in b.glob("*.copy")) == rows for b in backups):
            wrong.append(f"no backup is complete, of {len(backups)} that say they are")
        return wrong

    def _session_touched(self) -> list[str]:
        before, after = (phase08.untouched(url) for url in (self.stage.server.url("phase08"), self.target))
        return [] if before == after else ["the WhatsApp session was touched"]


@contextmanager
def _pages(url: str) -> Iterator[PageServer]:
    with PageServer(url, max_rows=_ROW_CAP) as pages:
        pages.roles[KEY] = None
        yield pages
