"""docs/commands.md is what the commands say of themselves, and a shell completes them."""

import os
import subprocess
from pathlib import Path

from tests.cli.command import BOTDATA

_MAKEFILE = Path(__file__).parents[2] / "Makefile"
_REFERENCE = _MAKEFILE.parent / "docs" / "commands.md"


def test_the_reference_is_what_the_commands_say() -> None:
    (recipe,) = [line for line in _MAKEFILE.read_text(encoding="utf-8").splitlines() if "utils docs" in line]
    words = recipe.partition(" > ")[0].replace("$(VENV)/bin", str(BOTDATA.parent)).split()
    written = subprocess.run(words, cwd=_MAKEFILE.parent, capture_output=True, text=True, timeout=60, check=True).stdout
    assert written == _REFERENCE.read_text(encoding="utf-8"), "write it anew: make commands"


def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    script = """
        eval "$(botdata --show-completion)"
        for words in "cutover a" "cutover accept --un"; do
            COMP_WORDS=(botdata $words) COMP_CWORD=$(($(wc -w <<< "$words")))
            _botdata_completion botdata
            echo "${COMPREPLY[@]}"
        done
    """
    environment = {**os.environ, "PATH": f"{BOTDATA.parent}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)}
    done = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "accept advance\n--until\n", done.stderr
