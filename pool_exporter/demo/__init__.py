"""The demo: a service as a user would write it, a load that calls it, and scenes that can be seen in its metrics.

- models.py and service.py are the service: FastAPI, SQLModel, an async engine, and three lines of pool_exporter.
- leaks.py is the part of the service with two bugs, made on purpose.
- database.py chooses the database and makes the engine; load.py calls the service over HTTP.
- scenes.py says what happens when; terminal.py how it is told; run.py puts all together.

It needs the extra `demo`. Nothing outside of this package may import it, except the command line.
"""
