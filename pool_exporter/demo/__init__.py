"""The demo: a service as a user would write it, a load on it, and scenes that its metrics show.

- models.py and service.py are the service: FastAPI, SQLModel, an async engine, and three lines of pool_exporter.
- leaks.py and mistakes.py are the parts of the service that have bugs on purpose.
- database_settings.py reads DATABASE_URL and DB_*; database.py chooses the database and makes the engine.
- load.py calls the service over HTTP; scenes.py has the scenes, rounds.py plays them, terminal.py formats the output.
- reports.py prints the report on the pool in each scene.
- run.py runs all of it; fleet.py and worker.py run the service in worker processes; telemetry.py pushes by OTLP.

It needs the extra `demo`. Only the command line imports it.
"""
