"""What share of the lines and branches of `app` the tests reach, after `coverage combine`. `make coverage` runs it.

It ends with exit code 1 below the shares that are promised, or with more exclusions than are allowed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

_LINES, _BRANCHES = 95.0, 90.0  # percent
_EXCLUSIONS = 20
_ROOT = Path(__file__).parents[2]
_EXCLUDED = re.compile(r"# pragma: no (?:cover|branch)(.*)")


def main() -> int:
    """Print both shares, the files that are reached least, and the exclusions; the exit code."""
    with tempfile.TemporaryDirectory() as directory:
        document = Path(directory) / "coverage.json"
        subprocess.run([sys.executable, "-m", "coverage", "json", "--quiet", "-o", document], cwd=_ROOT, check=True)
        found = json.loads(document.read_text(encoding="utf-8"))
    totals = found["totals"]
    missing = sorted(
        (
            (file["summary"]["missing_lines"] + file["summary"]["missing_branches"], name)
            for name, file in found["files"].items()
        ),
        reverse=True,
    )
    for count, name in missing[:15]:
        if count:
            lines = ", ".join(map(str, found["files"][name]["missing_lines"])) or "none"
            branches = ", ".join(f"{a}->{b}" for a, b in found["files"][name]["missing_branches"]) or "none"
            sys.stdout.write(f"{name}: lines {lines}; branches {branches}\n")
    exclusions = [
        f"{path.relative_to(_ROOT)}:{number}{reason[1]}"
        for path in sorted((_ROOT / "app").rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (reason := _EXCLUDED.search(line))
    ]
    sys.stdout.write("".join(f"excluded: {one}\n" for one in exclusions))
    lines = 100 * totals["covered_lines"] / totals["num_statements"]
    branches = 100 * totals["covered_branches"] / totals["num_branches"]
    sys.stdout.write(f"lines {lines:.2f} % (at least {_LINES:g}), branches {branches:.2f} % (at least {_BRANCHES:g}), ")
    sys.stdout.write(f"{len(exclusions)} exclusions (at most {_EXCLUSIONS})\n")
    return int(lines < _LINES or branches < _BRANCHES or len(exclusions) > _EXCLUSIONS)


if __name__ == "__main__":
    sys.exit(main())
