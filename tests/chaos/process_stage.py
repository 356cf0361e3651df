"""What commands that are ended begin from: a source that has changed since it was moved, and a target for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

from app.stores.postgres.database_url import shown_url
from tests.chaos import databases
from tests.chaos.command import Botdata
from tests.chaos.databases import Postgres
from tests.chaos.moments import Lengths, measure
from tests.chaos.process_kinds import COPY, REPLAY, SYNC, Kind
from tests.chaos.process_place import Place
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


@contextmanager
def _pages(url: str) -> Iterator[PageServer]:
    with PageServer(url, max_rows=_ROW_CAP) as pages:
        pages.roles[KEY] = None
        yield pages
