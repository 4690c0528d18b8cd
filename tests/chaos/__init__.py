"""Failures on purpose: real scheduler processes against a ledger they cannot edit."""

from __future__ import annotations

import os

#: Whether the long forms are wanted, as `make chaos` wants them.
LONG = os.environ.get("CHAOS") == "long"
