"""
What the charts of the dashboard are drawn with: SVG that needs no script, no library and
no inline style.

Each chart comes with the same numbers as a table and with a sentence in place of the
picture. What colour says a shape says too. Marks that bear a number are groups of the
class ``dja-datum`` with a title: the script turns these into tooltips for the mouse and
for the arrow keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from html import escape
from typing import Any

from django.utils.formats import number_format
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString
from django.utils.translation import get_language, gettext, ngettext


@dataclass
class Chart:
    """
    A picture, the sentence that says the same, and the same numbers as a table.

    :ivar legend: (class of the swatch, what it means)
    """

    key: str
    title: str
    text: str
    svg: SafeString | str
    head: list[str]
    rows: list[list[Any]]
    legend: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def element(name: str, *children: Any, **attributes: Any) -> SafeString:
    """Return an element; ``class_`` and ``stroke_width`` as SVG spells them."""
    given = "".join(
        f' {key}="{_value(value)}"'
        for key, value in zip(_names(tuple(attributes)), attributes.values())
    )
    # Escaped one by one: format_html() would look through the numbers, too, and a page
    # has thousands of them.
    return SafeString(f"<{name}{given}>{_together(children)}</{name}>")


@lru_cache(maxsize=256)
def _names(attributes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(key.strip("_").replace("_", "-") for key in attributes)


def _value(value: Any) -> str:
    if isinstance(value, (int, float)):
        return str(_short(value))
    return _escaped(value)


def _escaped(value: Any) -> str:
    # Django's does the same to a plain text, by way of what lazy ones need.
    return escape(value) if type(value) is str else conditional_escape(value)


def _short(value: Any) -> Any:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value


def _together(children: Sequence[Any]) -> str:
    return "".join(map(_escaped, children))


def datum(title: str, *children: Any, href: str = "") -> SafeString:
    """Return a mark that bears a number, with what it says."""
    mark = format_html(
        '<g class="dja-datum"><title>{}</title>{}</g>',
        title,
        SafeString(_together(children)),
    )
    return shortcut(href, mark) if href else mark


def shortcut(href: str, mark: SafeString) -> SafeString:
    """
    Return a part of a picture that leads somewhere, for the mouse.

    A chart is one tab stop and one thing to a screen reader: the script follows the
    link on Enter, and the table has it as well.
    """
    return element("a", mark, href=href, tabindex="-1")


def drawing(
    width: float, height: float, label: str, parts: Sequence[str], style: str
) -> SafeString:
    """Return a chart's SVG: one thing with a name, to who does not see it."""
    linked = any(part.startswith("<a ") for part in parts)
    return element(
        "svg",
        element("g", *parts, aria_hidden="true"),
        class_=f"dja-chart {style}",
        viewBox=f"0 0 {_short(width)} {_short(height)}",
        width=width,
        height=height,
        # An image must have no links in it, not even for the mouse alone.
        role="group" if linked else "img",
        aria_label=label,
    )


def text(
    x: float, y: float, words: str, style: str = "", anchor: str = ""
) -> SafeString:
    """Return a text."""
    attributes: dict[str, Any] = {"x": x, "y": y}
    if style:
        attributes["class_"] = style
    if anchor:
        attributes["text_anchor"] = anchor
    return element("text", words, **attributes)


def count(number: int) -> str:
    """Return a number with the separators of the language."""
    return _grouped(number, get_language())


# A page has hundreds, and half of them are nought.
@lru_cache(maxsize=1024)
def _grouped(number: int, language: str | None) -> str:
    return number_format(number, use_l10n=True, force_grouping=True)


def cross(x: float, y: float, r: float) -> SafeString:
    """Return a cross, which says "failed" to those who see no red."""
    d = f"M{x - r:.1f} {y - r:.1f}l{2 * r:.1f} {2 * r:.1f}m0 {-2 * r:.1f}l{-2 * r:.1f} {2 * r:.1f}"
    return element("path", class_="dja-cross", d=d)


def outcomes(succeeded: int, failed: int, not_run: int) -> str:
    """Say how many runs ended in which way."""
    if not (succeeded or failed or not_run):
        return gettext("no runs")
    parts = [
        ngettext("%(count)s run succeeded", "%(count)s runs succeeded", succeeded)
        % {"count": count(succeeded)},
        ngettext("%(count)s failed", "%(count)s failed", failed)
        % {"count": count(failed)},
    ]
    if not_run:
        parts.append(
            ngettext("%(count)s did not run", "%(count)s did not run", not_run)
            % {"count": count(not_run)}
        )
    return ", ".join(parts)
