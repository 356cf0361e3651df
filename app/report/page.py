"""The page of a report: one HTML file without a script, whose style is the only thing that its policy lets in.

Everything that is shown is text to the template, which escapes it. The facts are embedded as JSON, for `--check`.
"""

import base64
import hashlib
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from app.report import plots
from app.report.texts import Language, texts

_HERE = Path(__file__).parent


def render(facts: dict[str, Any], language: Language) -> str:
    """The page."""
    words = texts(language)
    style = (_HERE / "page.css").read_text(encoding="utf-8")
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        number=partial(_number, language),
        duration=partial(_duration, language),
        size=partial(_size, language),
        moment=_moment,
        coded=_coded,
        reason=partial(_reason, words),
    )
    return environment.get_template("page.html").render(
        facts=facts,
        language=language,
        t=words,
        style=Markup(style),  # noqa: S704 - a file of this package
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        plots=plots,
    )


def _number(language: Language, value: float | None) -> str:
    if value is None:
        return "—"
    return f"{value:,}".replace(",", "\u202f" if language == "ru" else ",")


def _duration(language: Language, seconds: float | None) -> str:
    """About how long, in two units at most."""
    if seconds is None:
        return "—"
    units = ("ч", "мин", "с", "мс") if language == "ru" else ("h", "min", "s", "ms")
    if seconds < 1:
        return f"{_decimal(language, seconds * 1000)} {units[3]}" if seconds else f"< 1 {units[2]}"
    if seconds < 60:
        return f"{seconds:.0f} {units[2]}"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} {units[1]} {rest} {units[2]}"
    return f"{minutes // 60} {units[0]} {minutes % 60} {units[1]}"


def _size(language: Language, size: float | None) -> str:
    if size is None:
        return "—"
    units = ("Б", "кБ", "МБ", "ГБ", "ТБ") if language == "ru" else ("B", "kB", "MB", "GB", "TB")
    step = 0
    while size >= 1000 and step < len(units) - 1:
        size, step = size / 1000, step + 1
    return f"{_decimal(language, size)} {units[step]}"


def _decimal(language: Language, value: float) -> str:
    """A number in two digits at least."""
    shown = f"{value:.0f}" if value >= 10 else f"{value:.2g}"
    return shown.replace(".", ",") if language == "ru" else shown


def _moment(at: str | None) -> Markup:
    """A moment for people, the whole of it for machines."""
    if at is None:
        return Markup("—")
    return Markup('<time datetime="{}">{}</time>').format(at, f"{at[:10]} {at[11:16]} UTC")


def _coded(text: str) -> Markup:
    """A text whose parts between backticks are code."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if position % 2 else escape(part) for position, part in enumerate(parts)
    )


def _reason(words: dict[str, str], reason: dict[str, Any]) -> str:
    state = reason["sqlstate"]
    said = words.get(f"sqlstate_{state}") or words.get(f"sqlstate_{state[:2]}") or reason["reason"]
    return str(said)
