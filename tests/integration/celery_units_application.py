"""A Celery application of which each task writes down the unit in which it runs; its broker is a directory."""

import os
import time
from pathlib import Path

from celery import Celery

import pool_exporter
from pool_exporter.units import current_unit

BROKER = os.environ["BROKER"]
TASKS = ("first", "second", "third")

app = Celery(broker="filesystem://")
app.conf.broker_transport_options = {
    "data_folder_in": BROKER,
    "data_folder_out": BROKER,
    "control_folder": f"{BROKER}/control",
}
pool_exporter.CeleryUnits().install()


def write_unit(name: str) -> None:
    """Write the name of the unit before and after a pause, in which other tasks run."""
    before = _name()
    time.sleep(0.2)  # The tasks of one worker overlap; with gevent, this runs the others.
    Path(BROKER, "control", f"unit-{name}").write_text(f"{before} {_name()}")


def _name() -> str:
    unit = current_unit.get()
    return "" if unit is None else unit.name


for _task in TASKS:
    app.task(write_unit, name=f"shop.{_task}")
