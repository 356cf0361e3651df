"""docs/troubleshooting.md, held against the program: error codes, and the answers of a receiver."""

import re
from pathlib import Path

from app import errors
from tests.test_docs import _codes

_ROOT = Path(__file__).parent.parent
TEXT = (_ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")


def _section(title: str) -> str:
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_every_error_code_is_there_once() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", _section("Error codes of the data layer"), re.MULTILINE)
    assert sorted(listed) == sorted(_codes(errors.DataError) - {errors.DataError.code})


def test_every_answer_of_a_receiver_is_there() -> None:
    code = (_ROOT / "app" / "notify" / "channels.py").read_text(encoding="utf-8")
    answers = {*re.findall(r'TryOutcome\(False, "([a-z ]+)"\)', code), *re.findall(r'f"([a-z]+) \{', code)}
    told = _section("Nobody is told")
    assert len(answers) >= 6
    assert [one for one in answers if f"`{one}" not in told] == []


def test_codes_of_preflight_are_explained_in_one_place() -> None:
    page = (_ROOT / "docs" / "preflight.md").read_text(encoding="utf-8")
    codes = set(re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE))
    assert len(codes) > 50
    assert {code for code in codes if f"`{code}`" in TEXT} == {"target-behind"}  # the example
    assert "(preflight.md)" in TEXT


def test_what_it_links_to_is_there() -> None:
    links = re.findall(r"\]\(([\w.-]+)\)", TEXT)
    assert [link for link in links if not (_ROOT / "docs" / link).exists()] == []
