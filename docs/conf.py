"""How Sphinx builds this documentation: ``sphinx-build -W docs build/docs``."""

from __future__ import annotations

import sys
from pathlib import Path

import django
from django.conf import settings

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

# The API reference imports models, which need a configured Django.
if not settings.configured:
    settings.configure(
        SECRET_KEY="only for the documentation",
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            "django.contrib.sessions",
            "django_apscheduler",
        ],
        DATABASES={
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
        },
        USE_TZ=True,
    )
    django.setup()

import django_apscheduler  # noqa: E402 (found through the path above)

project = "django_apscheduler"
author = "The django_apscheduler developers"
release = version = django_apscheduler.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
nitpicky = False

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
# Docstrings write `name` for code in the same package.
default_role = "code"

html_theme = "furo"
html_title = "django-apscheduler"
html_copy_source = False
html_show_copyright = False


def _part_sources(app, what, name, obj, options, lines: list[str]) -> None:
    """Part the ``Source:`` of a docstring from the fields above it, as Sphinx asks."""
    for number in range(len(lines) - 1, 0, -1):
        if lines[number].startswith("Source:"):
            lines.insert(number, "")


def setup(app) -> None:
    """Hook into Sphinx."""
    app.connect("autodoc-process-docstring", _part_sources)
