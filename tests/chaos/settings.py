"""Settings of the scheduler processes, which a test can point elsewhere."""

from __future__ import annotations

import json
import os

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES

# For instance {"HOST": "127.0.0.1", "PORT": "54321"}, a proxy.
DATABASES["default"].update(json.loads(os.environ.get("CHAOS_DATABASE", "{}")))

APSCHEDULER = {"release": os.environ.get("CHAOS_RELEASE", "")}
