"""How long it takes to import the data layer, and to see the command's help: whole processes, from start to end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import perf_counter

from benchmarks.row import Row, Size, at_most, by_turns

_ROOT = Path(__file__).parent.parent
_WAYS = {
    "import app.data_layer": [sys.executable, "-c", "import app.data_layer"],
    "import sqlalchemy, psycopg": [sys.executable, "-c", "import sqlalchemy, psycopg"],
    "botdata --help": [str(Path(sys.executable).with_name("botdata")), "--help"],
    "import typer": [sys.executable, "-c", "import typer"],
}
_MODULE_AT_MOST = 1.5
_HELP_AT_MOST = 2.5


def rows(size: Size) -> Iterator[Row]:
    """One row of two ratios, which is reached only where both are."""
    for command in _WAYS.values():  # so that the byte-code is there
        _seconds(command)
    figures = by_turns(size.of(25, 2), {name: partial(_seconds, command) for name, command in _WAYS.items()})
    parts = [
        at_most(_MODULE_AT_MOST, "", "", figures, "import app.data_layer", "import sqlalchemy, psycopg"),
        at_most(_HELP_AT_MOST, "", "", figures, "botdata --help", "import typer"),
    ]
    yield Row(
        "`import app.data_layer`, `botdata --help`",
        '`import sqlalchemy, psycopg`; `python -c "import typer"`',
        "; ".join(part.to_reach for part in parts),
        "; ".join(part.measured for part in parts),
        all(part.reached for part in parts),
        figures,
    )


def _seconds(command: list[str]) -> float:
    began = perf_counter()
    subprocess.run(command, cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    return perf_counter() - began
