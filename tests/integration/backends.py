"""The connections of one application as the server reports them: the oracle of these tests.

Nothing here may know SQLAlchemy's pools or the package's numbers.
"""

import re
from abc import ABC, abstractmethod

from tests.fixtures.deadlines import until
from tests.fixtures.mariadb import MariaDBServer
from tests.fixtures.pgbouncer import PgBouncer
from tests.fixtures.postgres import PostgresServer


class Backends(ABC):
    """The server's view of an application's connections."""

    @abstractmethod
    def look(self) -> dict[int, bool]:
        """Return whether each is in a transaction, by the server's id of the connection."""

    def count(self) -> dict[str, int]:
        """Return how many are in no transaction, and in one: idle and used, if each use begins a transaction."""
        busy = list(self.look().values())
        return {"idle": busy.count(False), "used": busy.count(True)}

    def pids(self) -> list[int]:
        """Return the ids, in order."""
        return sorted(self.look())

    def open(self) -> int:
        """Return how many there are."""
        return len(self.look())


class PostgresBackends(Backends):
    """PostgreSQL's backends, by their application_name."""

    def __init__(self, server: PostgresServer, application: str) -> None:
        self._server = server
        self._application = application

    def look(self) -> dict[int, bool]:
        """Query pg_stat_activity; a backend that is just starting has no state."""
        sql = "select pid, state is distinct from 'idle' from pg_stat_activity where application_name = %s"
        return dict(self._server.admin(sql, self._application))

    def kill(self, pid: int) -> None:
        """Have the server end one backend, as an administrator would; it may be gone already."""
        self._server.admin("select pg_terminate_backend(%s, 5000)", pid)

    def kill_all(self) -> None:
        """Have the server end them all."""
        for pid in self.pids():
            self.kill(pid)

    def waits(self) -> list[str]:
        """Return what each waits for."""
        sql = "select wait_event from pg_stat_activity where application_name = %s"
        return [event for (event,) in self._server.admin(sql, self._application)]

    def age_of_transaction(self) -> float:
        """Return for how long the oldest transaction has been open, in seconds; 0 when there is none."""
        age = "extract(epoch from max(clock_timestamp() - xact_start))"
        sql = f"select {age} from pg_stat_activity where application_name = %s"
        ((seconds,),) = self._server.admin(sql, self._application)
        return float(seconds or 0)


class MariaDBSessions(Backends):
    """MariaDB's threads for the user app; one that has changed something is in a transaction."""

    def __init__(self, server: MariaDBServer) -> None:
        self._server = server

    def look(self) -> dict[int, bool]:
        """Query the process list, and InnoDB's report: its table of transactions may be from an earlier query."""
        ((_, _, report),) = self._server.admin("show engine innodb status")
        active = [part for part in report.split("---TRANSACTION")[1:] if ", ACTIVE" in part.splitlines()[0]]
        busy = {int(pid) for part in active for pid in re.findall(r"thread id (\d+)", part)[:1]}
        pids = self._server.admin("select id from information_schema.processlist where user = 'app'")
        return {pid: pid in busy for (pid,) in pids}

    def kill(self, pid: int) -> None:
        """Let the server end one connection; that takes it some time."""
        self._server.admin(f"kill {pid}")

    def kill_all(self) -> None:
        """Have the server end them all, and wait until it has."""
        for pid in self.pids():
            self.kill(pid)
        until(0, self.open)


class PgBouncerClients(Backends):
    """PgBouncer's clients of the database app; one that has a server, or waits for one, is in a transaction."""

    def __init__(self, server: PgBouncer) -> None:
        self._server = server

    def look(self) -> dict[int, bool]:
        """Query the console."""
        clients = [client for client in self._server.admin("SHOW CLIENTS") if client["database"] == "app"]
        return {int(client["ptr"], 16): bool(client["link"]) or client["state"] == "waiting" for client in clients}
