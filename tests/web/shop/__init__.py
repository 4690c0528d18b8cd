"""A Django project as small as can be, whose web workers run its jobs."""
