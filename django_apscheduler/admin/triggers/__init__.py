"""Schedules in the admin: their form, their preview and what to beware of."""
