"""The strips of latest runs."""

from __future__ import annotations

from datetime import timedelta
from xml.etree import ElementTree

from django.test import SimpleTestCase

from django_apscheduler.admin import charts
from django_apscheduler.admin.stats import RunMark
from tests.admin.rows import NOON


def run(hours: int, status: str, seconds: float | None = 2.0) -> RunMark:
    moment = NOON - timedelta(hours=hours)
    finished = None if seconds is None else moment + timedelta(seconds=seconds)
    return RunMark(hours, status, moment, moment, finished)


class StripTest(SimpleTestCase):
    def test_the_text_says_what_the_picture_shows(self):
        runs = [run(1, "Executed"), run(2, "Error!"), run(3, "Executed")]
        self.assertEqual(charts.summary(runs), "Last 3 runs: 2 Executed, 1 Error")
        self.assertEqual(charts.summary(runs[:1]), "Last run: 1 Executed")
        self.assertEqual(charts.summary([]), "No runs yet")

    def test_each_status_can_be_told_by_its_shape(self):
        shapes = set()
        for status in (
            "Executed",
            "Error!",
            "Missed!",
            "Started execution",
            "Coalesced",
        ):
            strip = ElementTree.fromstring(charts.run_strip([run(1, status)], NOON))
            group = strip.find("g")
            shapes.add(
                tuple(
                    (part.tag, part.get("class"), part.get("height"))
                    for part in group
                    if part.get("class") not in (None, "dja-hit")
                )
            )
        self.assertEqual(len(shapes), 5)

    def test_the_newest_run_stands_at_the_right_and_has_a_tooltip(self):
        strip = ElementTree.fromstring(
            charts.run_strip([run(1, "Executed"), run(2, "Error!")], NOON)
        )
        groups = strip.findall("g")
        self.assertEqual(
            [group.find("title").text for group in groups],
            ["Error, 10:00:00 UTC, 2.0 s", "Executed, 11:00:00 UTC, 2.0 s"],
        )
        places = [float(group.find("rect").get("x")) for group in groups]
        self.assertLess(places[0], places[1])

    def test_it_needs_no_inline_style_or_script(self):
        strip = charts.run_strip([run(1, "Error!"), run(2, "Lost")], NOON)
        self.assertNotIn("style=", strip)
        self.assertNotIn("<script", strip)

    def test_heights_grow_with_duration_and_stay_inside(self):
        heights = [charts.bar_height(s) for s in (None, 0, 0.1, 1, 60, 3600, 90000)]
        self.assertEqual(heights, sorted(heights))
        self.assertEqual((heights[0], heights[-1]), (6, 24))

    def test_an_unknown_status_is_named_and_escaped(self):
        strip = charts.run_strip([run(1, "<b>")], NOON)
        self.assertIn("&lt;b&gt;, 11:00:00 UTC", strip)
        self.assertNotIn("<b>", strip)
