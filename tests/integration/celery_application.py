"""A Celery application; its task uses one connection of a pool, and its broker is a directory."""

import os

from celery import Celery
from sqlalchemy import text

from tests.integration.applications import engine

BROKER = os.environ["BROKER"]

app = Celery(broker="filesystem://")
app.conf.broker_transport_options = {
    "data_folder_in": BROKER,
    "data_folder_out": BROKER,
    "control_folder": f"{BROKER}/control",
}


@app.task  # type: ignore[untyped-decorator]  # Celery has no types
def work() -> None:
    """Use a connection."""
    with engine.connect() as connection:
        connection.execute(text("select 1"))
