"""The documents, held against the program: methods, error codes, settings, measurements, paths and links."""

import inspect
import re
from pathlib import Path

import pytest

from app import errors
from app.data_layer import DataLayer
from app.settings import Settings
from tests.support.result_tables import BENCHMARKS, CHAOS, PAGE, ResultTable

_ROOT = Path(__file__).parent.parent
_PAGES = [_ROOT / "README.md", _ROOT / "AGENTS.md", *sorted((_ROOT / "docs").glob("*.md"))]
TEXT = (Path(__file__).parent.parent / "docs" / "data-layer.md").read_text(encoding="utf-8")


def _codes(kind: type[errors.DataError]) -> set[str]:
    return {kind.code}.union(*(_codes(below) for below in kind.__subclasses__()))


def test_every_error_code_is_listed() -> None:
    listed = re.findall(r"^\| `([a-z_]+)` \|", TEXT, re.MULTILINE)
    assert set(listed) == _codes(errors.DataError) - {errors.DataError.code}
    assert len(listed) == len(set(listed))


def test_every_method_is_listed_with_its_arguments() -> None:
    listed = dict(re.findall(r"^\| `([a-z_]+)\((.*?)\)` \|", TEXT, re.MULTILINE))
    methods = {
        name: method
        for name, method in inspect.getmembers(DataLayer, inspect.iscoroutinefunction)
        if not name.startswith("_") and name != "close"
    }
    assert len(methods) == 21
    assert listed.keys() == methods.keys()
    for name, method in methods.items():
        words = []
        keyword_only = False
        for parameter in list(inspect.signature(method).parameters.values())[1:]:
            if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
                keyword_only = True
                words.append("*")
            default = parameter.default
            shown = "" if default is parameter.empty else f"={repr(default).replace(chr(39), chr(34))}"
            words.append(parameter.name + shown)
        assert listed[name] == ", ".join(words), name


def test_every_path_of_the_testing_page_exists() -> None:
    text = (_ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    paths = set(re.findall(r"\b((?:tests|docs)/[\w./-]*\w)", text))
    assert len(paths) > 20
    assert [path for path in sorted(paths) if not (_ROOT / path).exists()] == []


def test_files_that_the_architecture_names_are_there() -> None:
    files = [str(path.relative_to(_ROOT)) for folder in ("app", "tests") for path in (_ROOT / folder).rglob("*.py")]
    for document in ("docs/architecture.md", "docs/packages.md", "AGENTS.md"):
        text = (_ROOT / document).read_text(encoding="utf-8")
        named = re.findall(r"`([\w/]+\.py)`", text)
        assert named
        assert [name for name in named if not any(f"/{file}".endswith(f"/{name}") for file in files)] == []


_NAMED = "adopt cli embedded fleet migration/stream notify parity rehearsal relocation report schema watch"


@pytest.mark.parametrize("package", _NAMED.split())
def test_a_package_that_is_described_is_described_whole(package: str) -> None:
    text = "".join((_ROOT / "docs" / page).read_text(encoding="utf-8") for page in ("architecture.md", "packages.md"))
    named = {name.rpartition("/")[2] for name in re.findall(r"`([\w/]+\.py)`", text)}
    files = {path.name for path in (_ROOT / "app" / package).rglob("*.py")} - {"__init__.py"}
    assert files - named == set()


def test_settings_table_is_the_settings() -> None:
    text = (_ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\| `([A-Z_]+)` \| (.*?) ?\| (.*?) \|$", text, re.MULTILINE)
    real = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else str(field.default)
        real.append((name.upper(), default.lower() if isinstance(field.default, bool) else default, field.description))
    assert shown == real


@pytest.mark.parametrize("table", [BENCHMARKS, CHAOS], ids=lambda table: table.name)
def test_a_table_is_that_of_the_last_results(table: ResultTable) -> None:
    assert table.section(PAGE.read_text(encoding="utf-8")).group() == table.markdown()


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_what_a_page_names_or_links_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = [_ROOT / path for path in re.findall(r"`((?:tests|app|docs)/[\w./-]*)`", text)]
    linked = [page.parent / path for path in re.findall(r"\]\(([^):#]+)(?:#[\w-]*)?\)", text)]
    assert [path for path in (*named, *linked) if not path.exists()] == []


def test_every_page_is_named_in_the_readme() -> None:
    named = re.findall(r"\]\(docs/([\w-]+\.md)\)", (_ROOT / "README.md").read_text(encoding="utf-8"))
    assert sorted(set(named)) == sorted(page.name for page in (_ROOT / "docs").glob("*.md"))
