"""
The documentation holds: its Python runs, its links lead somewhere, its tables are whole.

A Python block after ``<!-- run -->`` is run and must print what the block after
``<!-- output -->`` shows, or nothing; test cases after ``<!-- tests -->`` must pass;
all others must compile, and what they import from this package must exist.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import re
import subprocess
import sys
import unittest
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path
from types import ModuleType

import pytest
from django.core.management import load_command_class
from django.core.management.base import BaseCommand

from django_apscheduler import conf, events, signals

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    ROOT / "examples" / "README.md",
    *sorted(DOCS.rglob("*.md")),
]

_BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>[a-z]+) -->\n)?"
    r"(?P<indent> *)```(?P<language>\w+)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_LINK = re.compile(
    r"\[[^\]]*\]\((?P<link>[^)\s]+)\)|\bsrc(?:set)?=\"(?P<image>[^\"]+)\""
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str
    mark: str | None
    output: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """Give the fenced blocks of a page; an output block belongs to the one before."""
    text = page.read_text(encoding="utf-8")
    found = list(_BLOCK.finditer(text))
    for match, following in zip_longest(found, found[1:]):
        output = ""
        if following and following["mark"] == "output":
            output = following["text"]
        yield Block(
            page,
            text.count("\n", 0, match.start()) + 1,
            match["language"],
            match["text"],
            match["mark"],
            output,
        )


BLOCKS = [block for page in PAGES for block in blocks(page)]
PYTHON = [block for block in BLOCKS if block.language == "python"]
RUNNABLE = [block for block in PYTHON if block.mark == "run"]


def exists(module: ModuleType, name: str) -> bool:
    """Tell whether ``from module import name`` works."""
    if hasattr(module, name):
        return True
    # A module of a package becomes its attribute when somebody imports it.
    return bool(hasattr(module, "__path__") and find_spec(f"{module.__name__}.{name}"))


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_compiles_and_imports_what_exists(block):
    tree = ast.parse(block.text, str(block))
    wanted = [
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").partition(".")[0] == "django_apscheduler"
        for alias in node.names
    ]
    missing = []
    for module, name in wanted:
        try:
            found = exists(import_module(module), name)
        except ImportError as error:
            if "pip install django-apscheduler[" not in str(error):
                raise
            pytest.skip(f"needs a package: {error}")
        if not found:
            missing.append(f"{module}.{name}")
    assert missing == []


@pytest.mark.parametrize("block", RUNNABLE, ids=str)
def test_marked_python_runs_and_prints_what_is_shown(block):
    code = compile(block.text, str(block), "exec")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {"__name__": "documented"})
    assert printed.getvalue() == block.output


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "block", [block for block in PYTHON if block.mark == "tests"], ids=str
)
def test_documented_test_cases_pass(block, monkeypatch):
    module = ModuleType("documented")
    monkeypatch.setitem(sys.modules, "documented", module)
    exec(compile(block.text, str(block), "exec"), vars(module))
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    result = unittest.TestResult()
    suite.run(result)
    assert [text for _, text in result.errors + result.failures] == []
    assert result.testsRun >= 1


def test_there_is_something_to_run():
    """The marks are still found: a slip in their form would silence the test above."""
    assert len(RUNNABLE) >= 15
    assert sum(bool(block.output) for block in RUNNABLE) >= 5


@pytest.mark.parametrize(
    "document", PAGES, ids=lambda path: str(path.relative_to(ROOT))
)
def test_links_and_images_lead_to_files(document):
    text = _BLOCK.sub("", document.read_text(encoding="utf-8"))
    targets = [found["link"] or found["image"] for found in _LINK.finditer(text)]
    missing = [
        target
        for target in targets
        if "://" not in target
        and not (document.parent / target.partition("#")[0]).resolve().exists()
    ]
    assert missing == []


def test_every_page_is_in_the_table_of_contents():
    listed = {
        (index.parent / f"{entry}.md").resolve()
        for index in DOCS.rglob("index.md")
        for block in re.findall(
            r"```\{toctree\}\n(.*?)```", index.read_text(), re.DOTALL
        )
        for entry in block.split("\n")
        if entry and not entry.startswith(":")
    }
    assert listed == set(DOCS.rglob("*.md")) - {DOCS / "index.md"}


def named(page: str) -> set[str]:
    """Return what stands in code marks on a page."""
    return set(re.findall(r"`([^`\n]+)`", (DOCS / page).read_text(encoding="utf-8")))


def test_every_setting_is_documented():
    known = {*conf.KEYS, *conf.JOB_DEFAULTS, *conf.RETENTION}
    assert known - named("configuration.md") == set()


def test_every_event_and_signal_is_documented():
    constants = {f"EVENT_{name}" for name in events.EVENT_NAMES.values()}
    names = {name.lower() for name in events.EVENT_NAMES.values()}
    assert len(signals.SIGNALS) == len(names)
    assert (constants | names) - named("events.md") == set()


def test_every_system_check_is_documented():
    source = (ROOT / "django_apscheduler" / "checks.py").read_text(encoding="utf-8")
    ids = {f"django_apscheduler.{id}" for id in re.findall(r"\.([EW]\d{3})\b", source)}
    pattern = re.compile(r"django_apscheduler\.[EW]\d{3}")
    documented = set(filter(pattern.fullmatch, named("configuration.md")))
    assert len(ids) >= 10
    assert documented == ids


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """Return the long options of a command and of its subcommands."""
    options = set()
    for action in parser._actions:
        options.update(o for o in action.option_strings if o.startswith("--"))
        if isinstance(action, argparse._SubParsersAction):
            for subcommand in action.choices.values():
                options |= options_of(subcommand)
    return options


@pytest.mark.parametrize("name", ["runapscheduler", "apscheduler"])
def test_every_option_of_the_commands_is_documented(name):
    command = load_command_class("django_apscheduler", name)
    options = options_of(command.create_parser("manage.py", name))
    djangos_own = options_of(BaseCommand().create_parser("manage.py", name))
    documented = set(re.findall(r"--[a-z][a-z-]+", (DOCS / "commands.md").read_text()))
    assert len(options - djangos_own) >= 4
    assert options - djangos_own - documented == set()
    assert documented - {"--verbosity"} <= {
        option
        for each in ("runapscheduler", "apscheduler")
        for option in options_of(
            load_command_class("django_apscheduler", each).create_parser("", each)
        )
    }


def test_the_manual_builds_without_a_warning(tmp_path):
    pytest.importorskip("sphinx", reason="needs Sphinx: pip install '.[docs]'")
    pytest.importorskip("furo", reason="needs furo: pip install '.[docs]'")
    pytest.importorskip("myst_parser", reason="needs MyST: pip install '.[docs]'")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html"]
    built = subprocess.run(
        [*command, "-d", tmp_path / "doctrees", DOCS, tmp_path / "html"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=110,
        check=False,
    )
    assert (built.returncode, built.stderr) == (0, "")
    assert (tmp_path / "html" / "guide.html").exists()
