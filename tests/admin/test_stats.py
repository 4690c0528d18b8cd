"""Which jobs are in a condition, read from the log and from its sums."""

from __future__ import annotations

import itertools
from datetime import timedelta
from unittest.mock import patch

from django.test import TestCase

from django_apscheduler import rollups
from django_apscheduler.admin import stats
from django_apscheduler.models import DjangoJob
from tests.admin import rows
from tests.admin.rows import NOON

#: Hours before noon: older than the sums that are looked at, of yesterday, of today,
#: and too young to be in the sums.
MONTH, YESTERDAY, TODAY, NEW = 30 * 24, 20, 3, 0.01

STATUSES = ("Executed", "Error!", "Missed!", "Lost")

#: Up to three runs, the oldest first, of each job.
HISTORIES = [
    tuple(zip(hours, statuses))
    for hours in (
        (),
        (MONTH,),
        (YESTERDAY,),
        (TODAY,),
        (NEW,),
        (MONTH, YESTERDAY),
        (YESTERDAY, TODAY),
        (TODAY, NEW),
        (MONTH, NEW),
    )
    for statuses in itertools.product(STATUSES, repeat=len(hours))
]


def name_of(history) -> str:
    return "never" if not history else " ".join(f"{h}{s}" for h, s in history)


def expected(among, wanted) -> list[str]:
    """Return the jobs whose latest run among some statuses has a wanted one."""
    found = []
    for history in HISTORIES:
        counting = [status for _hours, status in history if status in among]
        if counting and counting[-1] in wanted:
            found.append(name_of(history))
    return sorted(found)


class LatestRunTest(TestCase):
    @classmethod
    def setUpTestData(cls):
        for history in HISTORIES:
            rows.job(name_of(history))
            for hours, status in history:
                if hours != NEW:
                    rows.execution(name_of(history), hours, status)
        list(rollups.steps("default", NOON))
        list(rollups.steps("default", NOON + timedelta(minutes=2)))
        for history in HISTORIES:
            for hours, status in history:
                if hours == NEW:
                    rows.execution(name_of(history), hours, status)
        rows.job("busy")
        rows.execution("busy", TODAY)
        rows.execution("busy", 0, "Started execution")

    def listed(self, queryset) -> list[str]:
        return sorted(queryset.values_list("pk", flat=True))

    def check(self):
        jobs = DjangoJob.objects.all()
        every = {*STATUSES, "Started execution"}
        for status in STATUSES:
            with self.subTest(status=status):
                found = stats.with_last_status(jobs, status, NOON)
                self.assertEqual(self.listed(found), expected(every, [status]))
        found = stats.with_last_status(jobs, "Started execution", NOON)
        self.assertEqual(self.listed(found), ["busy"])
        found = stats.with_condition(jobs, "failing", NOON)
        failed = ["Error!", "Lost"]
        self.assertEqual(self.listed(found), expected([*failed, "Executed"], failed))
        found = stats.with_condition(jobs, "never", NOON)
        self.assertEqual(self.listed(found), ["never"])

    def test_the_sums_and_the_log_tell_which_jobs_they_are(self):
        self.check()

    def test_without_sums_the_log_alone_tells(self):
        rollups.clear("default", NOON + timedelta(days=1))
        self.check()

    def test_where_more_is_new_than_looked_at_the_log_alone_tells(self):
        with patch.object(stats, "UNCOUNTED", 3):
            self.check()

    def test_jobs_that_the_sums_rule_out_are_not_looked_up_in_the_log(self):
        failed, succeeded = ["Error!", "Lost"], ["Executed"]
        unsure = stats._unsure("default", failed, succeeded, NOON)
        found = set(DjangoJob.objects.filter(unsure).values_list("pk", flat=True))
        self.assertIn(f"{YESTERDAY}Executed {TODAY}Error!", found)
        self.assertIn(f"{YESTERDAY}Error!", found)
        self.assertNotIn(f"{YESTERDAY}Error! {TODAY}Executed", found)
        self.assertNotIn(f"{YESTERDAY}Executed {TODAY}Executed", found)
        self.assertNotIn(f"{MONTH}Error! {YESTERDAY}Executed", found)
