"""What a browser without script would send of a page: for tests of whole forms."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any


class _Form(HTMLParser):
    def __init__(self, form_id: str):
        super().__init__()
        self.form_id = form_id
        self.inside = False
        self.values: dict[str, str] = {}
        self.action = ""
        self.select = ""
        self.area = ""
        self.option: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.inside = given.get("id") == self.form_id
            if self.inside:
                self.action = given.get("action", "")
        if not self.inside or "disabled" in given:
            return
        name = given.get("name", "")
        if tag == "input" and name:
            self.take_input(name, given)
        elif tag == "textarea":
            self.area = name
            self.values[name] = ""
        elif tag == "select":
            self.select = name
        elif tag == "option" and self.select:
            if self.select not in self.values or "selected" in given:
                self.values[self.select] = given.get("value", "")

    def take_input(self, name: str, given: dict[str, str]) -> None:
        kind = given.get("type", "text")
        if kind in ("checkbox", "radio"):
            if "checked" in given:
                self.values[name] = given.get("value", "on")
        elif kind not in ("submit", "button"):
            self.values[name] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.inside = False
        elif tag == "textarea":
            # The first line end after the tag is not part of the text.
            text = self.values.get(self.area, "")
            if self.area:
                self.values[self.area] = text.removeprefix("\n")
            self.area = ""
        elif tag == "select":
            self.select = ""

    def handle_data(self, data: str) -> None:
        if self.area:
            self.values[self.area] += data


def form_of(response: Any, form_id: str = "djangojob_form") -> dict[str, str]:
    """Return the fields of the page's form, as they would be sent."""
    parser = _Form(form_id)
    parser.feed(response.content.decode())
    parser.values.pop("csrfmiddlewaretoken", None)
    # Browsers send the lines of a text area with both characters.
    return {name: value.replace("\n", "\r\n") for name, value in parser.values.items()}


def action_of(response: Any, form_id: str = "djangojob_form") -> str:
    """Return the address to which the page's form is sent; "" for the page's own."""
    parser = _Form(form_id)
    parser.feed(response.content.decode())
    return parser.action
