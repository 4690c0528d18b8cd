"""Run a function every second beside a Qt application's event loop, until Ctrl-C."""

from __future__ import annotations

import signal
import sys
from datetime import datetime

from PySide6.QtCore import QCoreApplication, QTimer

from django_apscheduler.schedulers.qt import QtScheduler


def tick() -> None:
    # In a thread of the pool: windows are touched by signals, not from here.
    print(f"Tick! The time is {datetime.now().astimezone():%H:%M:%S}", flush=True)


def main() -> None:
    # In an application with windows: a QApplication.
    application = QCoreApplication(sys.argv)
    scheduler = QtScheduler()
    scheduler.add_job(tick, "interval", seconds=1)
    scheduler.start()
    application.aboutToQuit.connect(scheduler.shutdown)
    if len(sys.argv) > 1:
        QTimer.singleShot(int(float(sys.argv[1]) * 1000), application.quit)
    # Otherwise Ctrl-C would wait until Qt calls something written in Python.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    print("Press Ctrl-C to stop", flush=True)
    application.exec()


if __name__ == "__main__":
    main()
