"""The catalogues: complete, exact, compiled, and what the pages are made of."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext, ngettext

import django_apscheduler
from django_apscheduler.admin import words
from django_apscheduler.admin.triggers import schedules
from django_apscheduler.describe import describe
from django_apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from django_apscheduler.triggers.combining import AndTrigger, OrTrigger
from django_apscheduler.triggers.cron import CronTrigger
from django_apscheduler.triggers.date import DateTrigger
from django_apscheduler.triggers.interval import IntervalTrigger
from tests.admin import rows
from tests.admin.test_browser import addresses

PACKAGE = Path(django_apscheduler.__file__).parent
CATALOGUES = sorted(PACKAGE.glob("locale/*/LC_MESSAGES/django.po"))
PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|%%|%[a-z]")
TAG = re.compile(r"</?\w+[^>]*>")

every_catalogue = pytest.mark.parametrize(
    "path", CATALOGUES, ids=lambda path: path.parent.parent.name
)


@pytest.fixture(autouse=True)
def the_language_of_before():
    """Undo the last request's language, which stays with the thread."""
    with translation.override("en"):
        yield


class Text(NamedTuple):
    """One entry; ``forms`` are its translations, one for each plural form."""

    context: str | None
    singular: str
    plural: str | None
    forms: tuple[str, ...]

    @property
    def key(self) -> tuple[str | None, str, str | None]:
        return self.context, self.singular, self.plural


def texts(path: Path) -> Iterator[Text]:
    with path.open("rb") as file:
        catalogue = read_po(file) if path.suffix == ".po" else read_mo(file)
    for message in catalogue:
        if message.id:
            yield entry(message)


def entry(message: Any) -> Text:
    # Babel leaves the context of a compiled entry as it is stored.
    context = message.context
    context = context.decode() if isinstance(context, bytes) else context
    if isinstance(message.id, str):
        return Text(context, message.id, None, (message.string,))
    return Text(context, *message.id, tuple(message.string))


def test_german_is_translated():
    assert [path.parent.parent.name for path in CATALOGUES] == ["de"]
    assert len(list(texts(CATALOGUES[0]))) > 800


@every_catalogue
def test_every_text_is_translated_and_none_is_guessed(path):
    assert [text.singular for text in texts(path) if not all(text.forms)] == []
    with path.open("rb") as file:
        catalogue = read_po(file)
    assert [message.id for message in catalogue if message.id and message.fuzzy] == []
    assert list(catalogue.obsolete) == []


@every_catalogue
def test_translations_have_the_placeholders_of_their_texts(path):
    """A singular may say "one" for its count; it may not name what is not there."""
    wrong = []
    for text in texts(path):
        full = set(PLACEHOLDER.findall(text.plural or text.singular))
        fewest = full & set(PLACEHOLDER.findall(text.singular))
        for number, form in enumerate(text.forms):
            found = set(PLACEHOLDER.findall(form))
            least = fewest if number == 0 else full
            if not least <= found <= full:
                wrong.append((text.singular, form))
    assert wrong == []


@every_catalogue
def test_translations_keep_markup_and_the_space_around_a_text(path):
    wrong = []
    for text in texts(path):
        for form in text.forms:
            if edges(form) != edges(text.singular):
                wrong.append(form)
            if TAG.findall(form) != TAG.findall(text.singular):
                wrong.append(form)
    assert wrong == []


def edges(text: str) -> tuple[str, str]:
    return text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]


@every_catalogue
def test_the_compiled_catalogue_holds_what_the_source_says(path):
    def translated(path: Path) -> dict[Any, tuple[str, ...]]:
        return {text.key: text.forms for text in texts(path)}

    assert translated(path.with_suffix(".mo")) == translated(path)


@pytest.mark.slow
@every_catalogue
def test_the_catalogue_holds_the_texts_of_code_and_templates_and_no_others(
    path, tmp_path
):
    if shutil.which("xgettext") is None:
        pytest.skip("needs GNU gettext: apt install gettext")
    shutil.copytree(
        PACKAGE, tmp_path / PACKAGE.name, ignore=shutil.ignore_patterns("*.pyc")
    )
    script = shutil.copytree(PACKAGE.parent / "scripts", tmp_path / "scripts")
    done = subprocess.run(
        [sys.executable, script / "messages.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    again = tmp_path / path.relative_to(PACKAGE.parent)
    kept = {text.key for text in texts(path)}
    assert {text.key for text in texts(again)} - kept == set(), "run `make messages`"
    assert kept - {text.key for text in texts(again)} == set(), "run `make messages`"
    # Nothing but texts is in the file: the next run differs by them alone.
    assert not re.search('^"(POT-|PO-Rev)|^#:', again.read_text(), re.MULTILINE)


class Shown(HTMLParser):
    """Gathers what people read on a page or hear from it."""

    ATTRIBUTES = ("title", "aria-label", "placeholder", "alt", "label")

    def __init__(self, html: str):
        super().__init__()
        self.texts: list[str] = []
        self.hidden = 0
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.hidden += tag in ("script", "style")
        values = dict(attrs)
        self.texts += [values[name] or "" for name in self.ATTRIBUTES if name in values]
        if tag == "input" and values.get("type") in ("submit", "button", "reset"):
            self.texts.append(values.get("value") or "")
        # What scripts show later comes along with the page, beside names of theirs.
        self.texts += [v for k, v in attrs if v and k.startswith("data-") and " " in v]

    def handle_endtag(self, tag):
        self.hidden -= tag in ("script", "style")

    def handle_data(self, data):
        if not self.hidden:
            self.texts.append(" ".join(data.split()))


def pattern(text: str) -> re.Pattern[str]:
    """Return what matches a text whatever stands for its placeholders."""
    parts = PLACEHOLDER.split(text)
    return re.compile(".+?".join(map(re.escape, parts)), re.DOTALL)


def says(text: str) -> bool:
    """Tell whether a text is more than units, words of data and what joins them."""
    letters = re.sub(r"[^A-Za-z]", "", PLACEHOLDER.sub("", text))
    return len(letters) > (8 if PLACEHOLDER.search(text) else 3)


class English:
    """Finds English texts of the German catalogue."""

    def __init__(self):
        (path,) = (p for p in CATALOGUES if p.parent.parent.name == "de")
        self.english, self.german = [], []
        for text in texts(path):
            self.german += [pattern(form) for form in filter(says, text.forms)]
            both = filter(None, (text.singular, text.plural))
            self.english += [pattern(form) for form in filter(says, both)]

    def in_page(self, html: str) -> list[str]:
        return [
            text
            for text in Shown(html).texts
            if any(english.fullmatch(text) for english in self.english)
            # "Status" is both; so is "Start", which is "Home" in English.
            and not any(german.fullmatch(text) for german in self.german)
        ]


def test_english_on_a_page_is_found():
    english = English()
    assert english.in_page("<p title='Pause all jobs'>Alle Jobs pausieren</p>") == [
        "Pause all jobs"
    ]
    assert english.in_page("<b>Nothing was saved: geht nicht</b><i>Name</i>") == [
        "Nothing was saved: geht nicht"
    ]


@pytest.fixture
def german(site):
    client = Client(headers={"accept-language": "de"})
    client.force_login(get_user_model().objects.get(username="ana"))
    return client


def more_addresses() -> dict[str, str]:
    jobs, log = reverse(rows.JOBS), reverse(rows.LOG)
    return {
        "index": reverse("admin:index"),
        "app": reverse("admin:app_list", args=("django_apscheduler",)),
        "no jobs": jobs + "?q=nothing",
        "no runs": log + "?q=nothing",
        "wrong range": log + "?run_time__range__gte=tomorrow",
    }


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_german_pages_hold_no_english(german, declared):
    english = English()
    for name, address in (addresses() | more_addresses()).items():
        response = german.get(address)
        assert response.status_code == 200, name
        assert response.headers["Content-Language"] == "de"
        assert english.in_page(response.content.decode()) == [], name


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_answers_to_forms_hold_no_english(german):
    english = English()
    add = reverse("admin:django_apscheduler_djangojob_add")
    wrong = {
        "name": "Bericht",
        "func": "tests.admin.rows:work",
        "args": "[1",
        "kwargs": "{'days': 1}",
        "trigger-kind": "cron",
        "trigger-cron-minute": "75",
        "trigger-cron-timezone": "Europe/Berln",
        "misfire_grace_time": "soon",
    }
    response = german.post(add, wrong)
    page = response.content.decode()
    assert "Es wurde nichts gespeichert" in page
    assert english.in_page(page) == []

    chosen = {"_selected_action": ["hourly", "stock", "late"]}
    jobs = reverse(rows.JOBS)
    for action, said in {
        "pause_selected": "Pausieren",
        "resume_selected": "fortgesetzt",
        "run_selected": "eingereiht",
        "reschedule_selected": "Alt und neu anzeigen",
        "delete_selected": "Das Ausführungsprotokoll bleibt erhalten.",
    }.items():
        response = german.post(jobs, {**chosen, "action": action}, follow=True)
        page = response.content.decode()
        assert said in page, action
        assert english.in_page(page) == [], action


@pytest.mark.django_db
def test_hebrew_pages_run_from_right_to_left(client):
    client.force_login(rows.user("ana", superuser=True))
    for address in (rows.JOBS, rows.LOG, "admin:django_apscheduler_dashboard"):
        page = client.get(reverse(address), headers={"accept-language": "he"})
        assert re.search(r'<html lang="he" dir="rtl"', page.content.decode())


def test_numbers_are_written_as_in_the_language():
    with translation.override("de"):
        assert words.duration(4.24) == "4,2\u00a0s"
        assert words.duration(2) == "2,0\u00a0s"
    assert words.duration(4.24) == "4.2 s"


@pytest.mark.parametrize(
    ("trigger", "said"),
    [
        (IntervalTrigger(seconds=1), "jede Sekunde"),
        (IntervalTrigger(minutes=90), "alle 1 Stunde und 30 Minuten"),
        (IntervalTrigger(days=14, jitter=1), "alle 2 Wochen, bis zu 1 Sekunde später"),
        (
            CronTrigger(hour=9, day_of_week="mon-fri", timezone="Europe/Berlin"),
            "um 09:00 Uhr von Montag bis Freitag, Europe/Berlin",
        ),
        (CronTrigger(hour=9), "täglich um 09:00 Uhr"),
        (CronTrigger(hour="9,17", minute=30), "täglich um 09:30 und 17:30 Uhr"),
        (CronTrigger(hour=8, day_of_week="mon"), "um 08:00 Uhr am Montag"),
        (
            CronTrigger(hour=8, day_of_week="mon,wed"),
            "um 08:00 Uhr am Montag und Mittwoch",
        ),
        (CronTrigger(minute="*/5"), "alle 5 Minuten"),
        (
            CronTrigger(minute="*/5", hour="9-16", day_of_week="mon-fri"),
            "alle 5 Minuten von 09:00 bis 16:55 Uhr von Montag bis Freitag",
        ),
        (CronTrigger(minute=15), "jede Stunde, 15 Minuten nach der vollen Stunde"),
        (CronTrigger(day=1, hour=2), "um 02:00 Uhr am 1. jedes Monats"),
        (CronTrigger(day="last", hour=2), "um 02:00 Uhr am letzten Tag jedes Monats"),
        (
            CronTrigger(day="1st mon", month="1,7", hour=2),
            "um 02:00 Uhr am ersten Montag im Januar und Juli",
        ),
        (DateTrigger("2026-05-30 14:00:00"), "einmalig am 2026-05-30 14:00"),
        (
            CalendarIntervalTrigger(months=1, hour=8, start_date="2026-05-30"),
            "jeden Monat um 08:00 Uhr, ab 2026-05-30",
        ),
        (
            OrTrigger([IntervalTrigger(hours=1), CronTrigger(hour=9)]),
            "jede Stunde; oder täglich um 09:00 Uhr",
        ),
        (
            AndTrigger([IntervalTrigger(hours=2), CronTrigger(day_of_week="sat")]),
            "alle 2 Stunden, nur am Samstag",
        ),
    ],
)
def test_schedules_in_german_words(trigger, said):
    with translation.override("de"):
        assert describe(trigger, gettext, ngettext) == said


def test_a_schedule_is_told_in_the_language_that_is_active():
    trigger = IntervalTrigger(hours=6)
    told = []
    for language in ("en", "de", "en"):
        with translation.override(language):
            told.append(schedules.in_words(trigger))
    assert told == ["Every 6 hours", "Alle 6 Stunden", "Every 6 hours"]
