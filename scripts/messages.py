#!/usr/bin/env python3
"""
Bring the catalogues of translations up to date with the texts of the package.

    python scripts/messages.py [language ...]

A language that has no catalogue yet, such as ``fr`` or ``pt_BR``, gets an empty one. Needs
Django and GNU gettext. The same texts always give the same files: they name no line, no
date and no translator, so a change shows what it changes and nothing else.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import django
from django.conf import settings
from django.core.management import call_command

PACKAGE = Path(__file__).resolve().parent.parent / "django_apscheduler"
TOOLS = ("xgettext", "msguniq", "msgmerge", "msgattrib", "msgfmt")

#: What a new catalogue begins with, instead of gettext's lines to be filled in.
HEADING = "# This file is distributed under the license of django-apscheduler.\n"
#: Header lines that differ from run to run, or that nobody fills in.
VOLATILE = ("POT-Creation-Date", "PO-Revision-Date", "Last-Translator", "Language-Team")


def catalogues() -> list[Path]:
    """Return the catalogues that are there, by language."""
    return sorted(PACKAGE.glob("locale/*/LC_MESSAGES/django.po"))


def collect(languages: list[str]) -> None:
    """Put the texts of code and templates into the catalogues."""
    known = {path.parent.parent.name for path in catalogues()}
    # Texts are looked for below the working directory.
    os.chdir(PACKAGE)
    call_command(
        "makemessages",
        locale=sorted(known | set(languages)),
        extensions=["html", "py"],
        no_location=True,
        no_obsolete=True,
        no_wrap=True,
        verbosity=0,
    )


def settle(path: Path) -> None:
    """Take out of a catalogue's head what changes without a change of its texts."""
    head, empty_line, texts = path.read_text(encoding="utf-8").partition("\n\n")
    lines = head.splitlines(keepends=True)
    if "SOME DESCRIPTIVE TITLE" in head:
        lines = [HEADING, *(line for line in lines if not line.startswith("#"))]
    volatile = re.compile(rf'"({"|".join(VOLATILE)}|Report-Msgid-Bugs-To):')
    lines = [line for line in lines if not volatile.match(line)]
    head = "".join(lines).replace("PACKAGE VERSION", "django-apscheduler")
    head = head.replace('"Language: \\n"', f'"Language: {path.parent.parent.name}\\n"')
    path.write_text(head + empty_line + texts, encoding="utf-8")


def untranslated(path: Path) -> int:
    """Return how many texts of a catalogue are not translated, or only guessed."""
    entries = re.split(r"\n{2,}", path.read_text(encoding="utf-8").strip())[1:]
    empty = re.compile(r'^msgstr(\[\d\])? ""$(?!\n")', re.MULTILINE)
    return sum(1 for entry in entries if empty.search(entry) or "#, fuzzy" in entry)


def main(languages: list[str]) -> int:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        sys.exit(
            f"GNU gettext is needed, {missing[0]} is not here: apt install gettext"
        )
    settings.configure()
    django.setup()
    collect(languages)
    for path in catalogues():
        settle(path)
        # Not left to file times, which a checkout does not keep.
        path.with_suffix(".mo").unlink(missing_ok=True)
    call_command("compilemessages", verbosity=0)
    for path in catalogues():
        open_texts = untranslated(path)
        name = path.relative_to(PACKAGE.parent)
        print(
            f"{name}: " + (f"{open_texts} to translate" if open_texts else "complete")
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
