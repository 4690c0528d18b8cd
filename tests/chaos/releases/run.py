"""``manage.py`` of both releases, which synchronises declared jobs far more often."""

import sys

import django
from django.core.management import execute_from_command_line

if __name__ == "__main__":
    django.setup()
    from django_apscheduler.management.commands import runapscheduler

    assert runapscheduler.SYNC_SECONDS > 1
    runapscheduler.SYNC_SECONDS = 0.5
    execute_from_command_line(sys.argv)
