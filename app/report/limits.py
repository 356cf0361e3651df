"""What no check can find: the table of docs/limits.md, which is the one place that says it."""

import re
from pathlib import Path


def limits_file() -> Path:
    """The document: inside the installed package, else beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "docs" / "limits.md"
    return installed if installed.exists() else package.parent / "docs" / "limits.md"


def read_limits() -> list[dict[str, str]]:
    """The rows of its table, with backticks around code."""
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", limits_file().read_text(encoding="utf-8"), re.MULTILINE)
    return [{"what": what, "who": who, "remedy": remedy} for what, who, remedy in rows[1:]]
