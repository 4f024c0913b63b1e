"""Storage in one thread: what the registry does in several steps, some of them without its lock."""

from pathlib import Path

from pool_exporter.runtime.storage import Storage


def start(storage: Storage) -> None:
    """Create this process's file, unless it has one that readers find, and use it."""
    storage.use(storage.created())


def beat(storage: Storage) -> None:
    """Do what a heartbeat does."""
    start(storage)
    storage.beat()


def started(directory: Path) -> Storage:
    """Return storage that has a file in *directory*."""
    storage = Storage(directory)
    start(storage)
    return storage
