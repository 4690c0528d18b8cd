"""Moments and durations in words."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal

from django.test import SimpleTestCase, override_settings
from django.utils import timezone as django_timezone
from django.utils import translation

from django_apscheduler.admin import words
from tests.admin.rows import NOON


class DurationTest(SimpleTestCase):
    def test_durations_keep_two_figures_that_matter(self):
        for length, text in (
            (None, "–"),
            (0, "< 1 ms"),
            (0.0004, "< 1 ms"),
            (0.0006, "1 ms"),
            (0.0124, "12 ms"),
            (0.9996, "1.0 s"),
            (4.24, "4.2 s"),
            (9.96, "10 s"),
            (59.4, "59 s"),
            (59.6, "1 min"),
            (185, "3 min 5 s"),
            (1200.4, "20 min"),
            (7800, "2 h 10 min"),
            (14 * 3600 + 600, "14 h"),
            (3 * 86400 + 4 * 3600, "3 d 4 h"),
            (45 * 86400 + 3600, "45 d"),
            (Decimal("1.50"), "1.5 s"),
            (timedelta(milliseconds=3), "3 ms"),
            (-1, "< 1 ms"),
        ):
            with self.subTest(length=length):
                self.assertEqual(words.duration(length), text)

    def test_each_language_has_its_own_way(self):
        for language, text in (("en", "4.2 s"), ("de", "4,2\xa0s"), ("en", "4.2 s")):
            with self.subTest(language=language), translation.override(language):
                self.assertEqual(words.duration(4.2), text)


@override_settings(TIME_ZONE="UTC")
class MomentTest(SimpleTestCase):
    def test_moments_are_told_from_now(self):
        for seconds, text in (
            (0, "now"),
            (0.9, "now"),
            (90, "in 1 min 30 s"),
            (-90, "1 min 30 s ago"),
            (3 * 3600, "in 3 h"),
            (-86400 * 2, "2 d ago"),
        ):
            with self.subTest(seconds=seconds):
                moment = NOON + timedelta(seconds=seconds)
                self.assertEqual(words.relative(moment, NOON), text)
        self.assertEqual(words.relative(None, NOON), "–")

    def test_the_clock_time_names_the_day_only_when_it_is_another(self):
        for moment, text in (
            (NOON + timedelta(hours=2), "14:00 UTC"),
            (NOON + timedelta(days=1), "Thu 12:00 UTC"),
            (NOON - timedelta(days=6), "Thu 12:00 UTC"),
            (NOON + timedelta(days=7), "10 Jun 12:00 UTC"),
            (NOON + timedelta(days=400), "8 Jul 2027 12:00 UTC"),
        ):
            with self.subTest(moment=moment):
                self.assertEqual(words.wall(moment, NOON), text)
        self.assertEqual(words.wall(NOON, NOON, seconds=True), "12:00:00 UTC")

    def test_moments_are_shown_in_the_active_time_zone(self):
        with django_timezone.override("Asia/Kolkata"):
            self.assertEqual(words.wall(NOON, NOON), "17:30 IST")
            self.assertEqual(words.exact(NOON), "2026-06-03 17:30:00 IST (+05:30)")
            self.assertEqual(words.in_utc(NOON), "2026-06-03 12:00:00 UTC")

    @override_settings(USE_TZ=False, TIME_ZONE="America/New_York")
    def test_without_time_zone_support_the_default_zone_is_used(self):
        self.assertEqual(words.wall(NOON, NOON), "08:00 EDT")

    @override_settings(APSCHEDULER_DATETIME_FORMAT="Y-m-d H:i:s")
    def test_the_setting_of_the_earlier_package_chooses_the_format(self):
        self.assertEqual(words.wall(NOON, NOON), "2026-06-03 12:00:00")

    def test_a_cell_carries_the_exact_moment(self):
        html = words.moment_cell(NOON + timedelta(hours=1), NOON)
        self.assertIn('datetime="2026-06-03T13:00:00+00:00"', html)
        self.assertIn(">in 1 h</time>", html)
        self.assertEqual(words.moment_cell(None, NOON), "–")

    def test_weekdays_follow_the_language(self):
        with translation.override("de"):
            self.assertEqual(words.wall(NOON + timedelta(days=1), NOON), "Do 12:00 UTC")

    def test_naive_moments_count_as_utc(self):
        naive = datetime(2026, 6, 3, 12)
        self.assertEqual(words.local(naive), NOON.astimezone(timezone.utc))
