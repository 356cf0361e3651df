"""A hostile source through every command that reads it: nothing of it is carried out, by SQL or by a terminal.

Its names, values and errors carry SQL, escapes, markup and HTML. Whatever is printed holds no character that is not for
printing, each name as it is; a document is JSON; the rows arrive.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from app.cli.render import plain
from app.embedded import EmbeddedPostgres, SupabaseLite
from app.embedded.salon import fill_salon
from app.schema import revisions
from tests.chaos.hostile_schema import PAYLOADS, VICTIMS, HostileSchema
from tests.chaos.scenario import Chaos, Outcome, Scenario
from tests.chaos.transcript import KEY, PASSWORD
from tests.support.faults import JSON, Answer, Fault
from tests.support.in_process import run_here
from tests.support.page_server import PageServer

_SECONDS = 300  # for any command
_CHECKED = "SELECT count(*) FROM victims"


@dataclass
class _Bench:
    """One payload's source and target, and what was said about them."""

    chaos: Chaos
    outcome: Outcome
    schema: HostileSchema
    directory: Path
    source: str
    target: str
    settings: dict[str, str]

    def command(self, words: str, *, codes: tuple[int, ...] = (0,), shows: str | None = None) -> str:
        """What a command prints; what is wrong with it goes into the outcome."""
        self.outcome.injected += 1
        place = f"{words}, with {self.schema.payload!r}"
        before = len(self.outcome.wrong)
        said = run_here(words.split(), self.directory, self.settings, _SECONDS)
        code, out, err = said.code, said.out, said.err
        self.chaos.transcript.record(f"botdata {words}", out + err, shows_rows="quarantine show" in words)
        if code not in codes or "Traceback" in err:
            self.outcome.wrong.append(f"{place}: exit code {code}: {(err + out)[-800:]}")
        harmful = sorted({c for c in out + err if not (c.isprintable() or c == "\n")})
        if harmful:
            self.outcome.wrong.append(f"{place}: printed {harmful}")
        if "--json" in words:
            try:
                json.loads(out)
            except ValueError:
                self.outcome.wrong.append(f"{place}: no JSON: {out[:300]}")
        elif shows is not None and plain(shows) not in (out + err).replace("\n", ""):
            self.outcome.wrong.append(f"{place}: does not show {shows!r} as it is: {(out + err)[:600]}")
        for url in (self.source, self.target):
            with psycopg.connect(url) as connection:
                if connection.execute(_CHECKED).fetchone() != (7,):
                    self.outcome.wrong.append(f"{place}: the victims are gone from {url.rpartition('/')[2][:20]}")
        self.outcome.survived += len(self.outcome.wrong) == before
        return out

    def execute(self, url: str, statement: sql.Composed) -> None:
        """Carry out a statement of the schema's."""
        with psycopg.connect(url) as connection:
            connection.execute(statement)

    def moved(self) -> None:
        """The whole of a move of the hostile schema."""
        flags = " --metadata hostile_models:METADATA"
        table = self.schema.table
        self.command(f"preflight{flags}", codes=(0, 1))
        self.command(f"preflight --json{flags}", codes=(0, 1))
        self.command(f"copy{flags}", codes=(1,), shows=table)
        self.command(f"quarantine list{flags}", shows=table)
        try:
            listed = json.loads(self.command(f"quarantine list --json{flags}"))
        except ValueError:
            listed = {"rows": []}
        for row in listed["rows"]:
            self.command(f"quarantine show {row['number']}", shows=row["table"])
            self.command(f"quarantine show {row['number']} --json")
        if len(listed["rows"]) != 2:
            self.outcome.wrong.append(f"two rows are to be in quarantine, not {len(listed['rows'])}")
        self.command(f"quarantine export rows.json{flags}")
        exported = self.directory / "rows.json"
        if exported.exists():
            for line in exported.read_text(encoding="utf-8").split("\n")[:-1]:
                json.loads(line)
            exported.unlink()
        self.command("status", codes=(0, 1))
        self.command("status --json", codes=(0, 1))
        self.execute(self.target, self.schema.mended())
        self.command(f"quarantine replay{flags}", shows=table)
        self.execute(self.source, self.schema.change())
        self.command(f"sync{flags}", shows=table)
        self.execute(self.target, self.schema.spoil())
        self.command(f"verify --show-values{flags}", codes=(1,), shows=table)
        self.command(f"verify --show-values --json{flags}", codes=(1,))
        self.command(f"verify --fix{flags}", codes=(0, 1))
        self.command(f"verify{flags}", shows=table)


def run(chaos: Chaos) -> None:
    """Each payload from a connection, or over REST; the bot's own tables once."""
    outcome = chaos.outcome
    with EmbeddedPostgres.start(chaos.directory / "postgres", durable=False) as postgres:
        payloads = PAYLOADS if chaos.share >= 0.5 else (PAYLOADS[0], "".join(PAYLOADS[2:4])[:36])
        for number, payload in enumerate(payloads):
            for kind in ("connection", "rest") if chaos.share >= 0.5 else (("connection", "rest")[number % 2],):
                with _bench(chaos, outcome, postgres, payload, f"{kind}{number}") as bench:
                    if kind == "connection":
                        bench.settings["MIGRATION_SOURCE"] = bench.source
                        bench.moved()
                        continue
                    with PageServer(bench.source, max_rows=4) as pages:
                        bench.settings |= {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key}
                        bench.moved()
                        _lying_server(bench, pages)
        with _bench(chaos, outcome, postgres, "".join(payloads), "salon", salon=True) as bench:
            _salon(bench, postgres)


@contextmanager
def _bench(
    chaos: Chaos, outcome: Outcome, postgres: EmbeddedPostgres, payload: str, name: str, *, salon: bool = False
) -> Iterator[_Bench]:
    directory = chaos.directory / name
    directory.mkdir()
    schema = HostileSchema(payload)
    urls = [postgres.create_database(f"{side}_{name}") for side in ("source", "target")]
    for url in urls:
        with psycopg.connect(url) as connection:
            connection.execute(VICTIMS)
            if not salon:
                connection.execute(schema.ddl())
    if not salon:
        schema.write_module(directory / "hostile_models.py")
    with_password = [url.replace("postgres@", f"postgres:{PASSWORD}@", 1) for url in urls]
    bench = _Bench(chaos, outcome, schema, directory, *with_password, {"DATABASE_URL": with_password[1]})
    if not salon:
        bench.execute(bench.source, schema.rows())
        bench.execute(bench.target, schema.traps())
    sys.modules.pop("hostile_models", None)
    yield bench
    sys.modules.pop("hostile_models", None)
    while str(directory) in sys.path:
        sys.path.remove(str(directory))


def _lying_server(bench: _Bench, pages: PageServer) -> None:
    """Errors whose every part is hostile."""
    payload, flags = f"{bench.schema.payload} {KEY}"[:60], " --metadata hostile_models:METADATA"
    for status, code in (
        (400, "42703"),
        (400, payload),
        (500, "XX000"),
        (404, "PGRST205"),
        (401, payload),
        (403, "42501"),
    ):
        body = json.dumps({"code": code, "message": bench.schema.payload, "details": payload, "hint": payload}).encode()
        headers = {**JSON, "Retry-After": "0"}

        def fault(answer: Answer, status: int = status, body: bytes = body, headers: Any = headers) -> Answer:
            return replace(answer, status=status, body=body, headers=headers, rows=0)

        lying: Fault = fault
        pages.hook = lambda _request, lying=lying: lying
        if status != 500:  # tried again for a long time
            bench.command(f"verify{flags}", codes=(1,))
            bench.command(f"preflight --json{flags}", codes=(1,))
    pages.hook = lambda _request: None


def _salon(bench: _Bench, postgres: EmbeddedPostgres) -> None:
    """The bot's own tables, full of hostile text: the commands that know only these."""
    for url in (bench.source, bench.target):
        revisions.upgrade(url)
    fill_salon(
        bench.source, clients=20, services=12, staff=4, schedules=8, bookings=12, dialog_contexts=6, baileys_keys=0
    )
    for number, payload in enumerate(PAYLOADS):
        with psycopg.connect(bench.source) as connection:
            for table, columns in (
                ("clients", ("name", "email", "notes")),
                ("services", ("title",)),
                ("staff", ("name",)),
                ("dialog_contexts", ("user_id",)),
                ("companies", ("title", "timezone")),
            ):
                changes = sql.SQL(", ").join(
                    sql.SQL("{} = {}").format(sql.Identifier(column), sql.Literal(f"{payload} {number}"))
                    for column in columns
                )
                connection.execute(
                    sql.SQL("UPDATE {} SET {} WHERE id = (SELECT id FROM {} ORDER BY id OFFSET {} LIMIT 1)").format(
                        sql.Identifier(table), changes, sql.Identifier(table), number
                    )
                )
    name = str(conninfo_to_dict(bench.source)["dbname"])
    with SupabaseLite.start(postgres, name, bench.directory / "lite", service_key=KEY) as lite:
        bench.settings |= {"SUPABASE_URL": lite.url, "SUPABASE_KEY": KEY, "CUTOVER_STAGE": "database"}
        for words in ("preflight", "copy", "verify", "sync", "status", "cutover status", "quarantine list"):
            bench.command(words, codes=(0, 1))
        with psycopg.connect(bench.target) as connection:
            connection.execute("UPDATE clients SET name = %s, notes = %s WHERE id < 8", ("\x1b[2J", "[/]"))
        bench.command("verify --show-values", codes=(1,))
        bench.command("verify --show-values --json", codes=(1,))
        bench.command("parity --samples 20", codes=(0, 1))
        bench.command("parity --samples 20 --json", codes=(0, 1))
        with psycopg.connect(bench.target) as connection:
            connection.execute(
                "INSERT INTO botdata.processes (name, stage, chosen_by, problem) VALUES (%(p)s, 'off', %(p)s, %(p)s)",
                {"p": bench.schema.payload},
            )
        for words in ("cutover status", "cutover report", "cutover report --json", "cutover status --json"):
            bench.command(words, codes=(0, 1))


SCENARIO = Scenario(
    "hostile_source",
    "commands on a source whose names, values and errors carry SQL, escapes, markup and HTML",
    run,
)
