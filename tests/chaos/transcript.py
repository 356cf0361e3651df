"""All that was printed, logged and raised in a run, and a look through it for secrets and phone numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

# Planted: every service key, password and phone number of a run holds one of these.
KEY = "sb_secret_planted0key0of0the0chaos0run"
PASSWORD = "planted-password-of-the-chaos-run"
PHONES = "7900555"  # the first digits of each client's number; four more follow
_SECRETS = {
    "key": re.compile(r"planted0key|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}"),  # a legacy key is a JWT
    "password": re.compile("planted-password"),
    "phone number": re.compile(r"\+?[78][\s(-]*900[\s)-]*555[\s-]*\d\d[\s-]*\d\d"),
}


@dataclass
class Transcript:
    """Of one run, all scenarios.

    Attributes:
        lines: how many lines were looked through.
        leaks: what was found: where, which kind of secret, and the line with the secret left out.
    """

    lines: int = 0
    leaks: list[str] = field(default_factory=list)

    def record(self, where: str, text: str, *, shows_rows: bool = False) -> None:
        """Look through what was said.

        Args:
            where: the command or method that said it.
            shows_rows: row data was asked for, so that phone numbers may be in it; keys and passwords never.
        """
        for line in text.splitlines():
            self.lines += 1
            for kind, pattern in _SECRETS.items():
                if not (shows_rows and kind == "phone number") and pattern.search(line):
                    self.leaks.append(f"{where}: a {kind} in: {pattern.sub('***', line)[:300]}")
