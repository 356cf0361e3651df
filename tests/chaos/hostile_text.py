"""Text that means harm to what takes it for more than text: SQL, PostgREST's filters, headers, terminals, markup."""

from __future__ import annotations

import random
import string

from tests.chaos.transcript import KEY, PASSWORD

INJECTIONS = (
    "' OR '1'='1", "'; DROP TABLE clients; --", '"; DROP TABLE "clients" CASCADE; --',
    "1); DELETE FROM companies; --", "$$; DELETE FROM clients; $$", "\\'; SELECT pg_sleep(60); --", "E'\\\\x00'",
    "/* */ --", "COPY clients TO PROGRAM 'x'", "),or(id.gt.0", "),or=(id.not.is.null)", 'x"),or("', "eq.1",
    "in.(1,2)", "not.is.null", "*", "%", "_", "a*b", "like.*", '","', '"', '""', "\\", '\\"', '\\\\"', "a,b.c:d(e)",
    "(", ")", "()", "{", "}", "{}", "[", "]", ",", ".", ":", "is.null", "id=gt.0&select=*", "?select=*", "#",
    "&limit=0", "a&b=c;d", "+", "%2B", "%00", "%2527", "%", "%zz", "/../companies", "../../rpc/version",
    "http://127.0.0.1:9/", "x\r\nPrefer: resolution=ignore-duplicates\r\n\r\n", "\r\nX-Injected: 1", "\n", "a\nb",
    "\tx", "${jndi:ldap://x}", "{{7*7}}", "{0.__class__}", "%s%n", "%(name)s", ":name", "$1", "?", "@x",
    "[bold red]x[/]", "[/]", "[link=file:///]x[/link]", "<script>alert(1)</script>", "<img src=x onerror=a()>",
    "&lt;", "\x1b[2J\x1b[H", "\x1b]0;x\x07", "\x9b31m", "\x07", "\x08\x08", "\x7f", "\x85", "\u2028", "\u202egnp.exe",
    "\u2066x", "\u200b", "\ufeff", "a" + "\u0301" * 40, "İ", "ß", "ſ", "K", "Ё", "ё", "😀", "👨‍👩‍👧",
    "\U0010ffff", "\uffff", "NULL", "null", "true", "NaN", "Infinity", "now()", "1e400", "0x10", "__proto__",
    "constructor", "id", "clients", "../../../etc/passwd", "/etc/localtime", "Europe/Moscow", "UTC", "localtime", ".",
    "..", "C:\\x", f"x {KEY}", PASSWORD,
)  # fmt: skip
UNFIT = ("\0", "a\0b", "\ud800", "x\udfffy", "\udc00\ud800")  # what PostgreSQL cannot hold
_ALPHABETS = (
    string.ascii_letters + string.digits,
    string.punctuation + " ",
    "абвгдЯЁё",
    "𝒳😀中\u0301\u202e\u00a0ﷺ",
    "\"'\\(),.*%:{}[]",
)


def text(chance: random.Random, longest: int) -> str:
    """Text that PostgreSQL can hold, of up to so many characters; now and then of exactly as many."""
    kind = chance.random()
    if kind < 0.55:
        made = chance.choice(INJECTIONS)
        if kind < 0.15:
            made += chance.choice(INJECTIONS)
    elif kind < 0.9:
        alphabet = chance.choice(_ALPHABETS)
        made = "".join(chance.choices(alphabet, k=chance.randint(0, min(longest, 24))))
    elif kind < 0.95:
        made = "".join(chr(_any_character(chance)) for _ in range(chance.randint(1, min(longest, 12))))
    else:
        made = chance.choice(("x", "😀", "\\", '"', "Ж"))
        made *= longest if longest <= 255 else chance.choice((255, 1000, min(longest, 20_000)))
    return made[:longest]


def _any_character(chance: random.Random) -> int:
    while True:
        character = chance.randrange(1, 0x110000)
        if not 0xD800 <= character < 0xE000:
            return character
