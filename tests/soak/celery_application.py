"""The Celery application in worker processes that are killed; as a program it sends tasks until it is ended.

Its broker is a directory. Each task appends a line to a file before and after it uses a connection. A task that finds
the file KILL kills its own process while it uses the connection. A process that waits for a task is not killed: it has
the lock of Celery's own queue, and with this broker no other process would get a task any more.
"""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from celery import Celery

from pool_exporter import CeleryUnits
from tests.soak.applications import STATEMENT, sync_engine

BROKER = os.environ["SOAK_BROKER"]
SENT = f"{BROKER}/sent"
"""A sender's messages are written here and then moved: a worker of Celery ends when it reads half of one."""
PAUSE_SECONDS = 0.05
STARTED, ENDED, KILL, KILLED = "started", "ended", "kill", "killed"
"""The names of the files in the broker's control directory."""

app = Celery("soak", broker="filesystem://")
app.conf.update(
    broker_transport_options={
        "data_folder_in": BROKER,
        "data_folder_out": BROKER,
        "control_folder": f"{BROKER}/control",
        "polling_interval": 0.1,
    },
    task_ignore_result=True,
)
CeleryUnits().install()
engine = sync_engine()


def note(name: str) -> None:
    """Append a line to a file: what was written outlives the process."""
    file = os.open(Path(BROKER, "control", name), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(file, b"\n")
    os.close(file)


@app.task(name="work")  # type: ignore[untyped-decorator]  # Celery has no types
def work() -> None:
    """Use a connection."""
    note(STARTED)
    with engine.connect() as connection:
        connection.execute(STATEMENT)
        with suppress(FileNotFoundError):
            Path(BROKER, "control", KILL).unlink()
            note(KILLED)
            os.kill(os.getpid(), signal.SIGKILL)
    note(ENDED)


if __name__ == "__main__":
    app.conf.broker_transport_options["data_folder_out"] = SENT
    while True:
        work.delay()
        for message in Path(SENT).iterdir():
            message.rename(Path(BROKER, message.name))
        time.sleep(PAUSE_SECONDS)
