"""The same in a process that gevent has patched before anything else was imported."""

from gevent import monkey

monkey.patch_all()

from every_scheduler import main  # noqa: E402

if __name__ == "__main__":
    main()
