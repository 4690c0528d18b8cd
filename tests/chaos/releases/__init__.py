"""Two releases of one project; the folder of one of them is on a process's path."""

#: No occurrence is passed over, however late the machine is.
EVERY_TIME = {"coalesce": False, "misfire_grace_time": None, "max_instances": 1000}
