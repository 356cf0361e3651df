"""Tables of measured results: kept as JSON beside what measured them, and shown in docs/measurements.md.

They stand there between the comments `<!-- NAME -->` and `<!-- end of NAME -->`. test_docs.py holds the page against
the JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "measurements.md"


@dataclass(frozen=True)
class ResultTable:
    """One kind of results.

    Attributes:
        name: of its section in the page.
        path: of its JSON: an object with `machine`, `day`, `columns`, a list of names, and `rows`, objects with those.
    """

    name: str
    path: Path

    def markdown(self) -> str:
        """The table, and under it what it was measured on."""
        document = json.loads(self.path.read_text(encoding="utf-8"))
        columns = document["columns"]
        rows = [[str(row[column]) for column in columns] for row in document["rows"]]
        return f"{markdown_table(columns, rows)}\n\nMeasured on {document['machine']}, {document['day']}.\n"

    def section(self, text: str) -> re.Match[str]:
        """The part of the page that holds the table.

        Raises:
            LookupError: there is none.
        """
        found = re.search(rf"(?<=<!-- {self.name} -->\n).*?(?=<!-- end of {self.name} -->)", text, re.DOTALL)
        if found is None:
            raise LookupError(f"{PAGE} has no section {self.name}")
        return found

    def show(self) -> None:
        """Put the table into the page."""
        text = PAGE.read_text(encoding="utf-8")
        start, end = self.section(text).span()
        PAGE.write_text(text[:start] + self.markdown() + text[end:], encoding="utf-8")


BENCHMARKS = ResultTable("benchmarks", ROOT / "benchmarks" / "results.json")
CHAOS = ResultTable("chaos", ROOT / "tests" / "chaos" / "results.json")


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The lines of a Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
