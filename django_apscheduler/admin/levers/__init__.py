"""What staff do to jobs and runs beside the form: pause, reschedule, retry, cancel."""
