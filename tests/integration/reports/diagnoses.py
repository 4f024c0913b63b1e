"""Services with faults under each kind of server: what the log says of them."""

from typing import Final

from tests.integration.reports.row import Row, here

_TESTS: Final = here("diagnosis", "faulty_service")
_LEAK: Final = "`leak` at the line of the checkout"
_EXTERNAL: Final = "`held_in_own_code` at the line of the call"
_NESTED: Final = "`self_deadlock` at the line of the second checkout"
_BLOCKED: Final = "`loop_blocked` at the line that blocks"
_THREADS: Final = "requests leak connections; call another service, which hangs, with one at hand; or need a second one"
_TASKS: Final = f"{_THREADS}; or block the event loop"
_ONE: Final = "requests leak connections, or need a second one; one request at a time"

DIAGNOSIS_ROWS: Final = tuple(
    Row(
        f"C{number}",
        source,
        f"{server}: {situation}.",
        "the line that was written so, marked in the service's source",
        f"in the log within a minute of the first timeout, with and without a shared directory: {'; '.join(answers)}",
        _TESTS,
    )
    for number, (server, source, situation, answers) in enumerate(
        (
            ("gunicorn sync", "mcdonc/klangk#690", _ONE, (_LEAK, _NESTED)),
            ("gunicorn gthread", "pallets-eco/flask-sqlalchemy#780", _THREADS, (_LEAK, _EXTERNAL, _NESTED)),
            ("gunicorn gevent", "sqlalchemy#8965", _THREADS, (_LEAK, _EXTERNAL, _NESTED)),
            ("gunicorn uvicorn_worker", "xr843/fojin#649", _TASKS, (_LEAK, _EXTERNAL, _NESTED, _BLOCKED)),
            ("uvicorn", "langgenius/dify#21437", _TASKS, (_LEAK, _EXTERNAL, _NESTED, _BLOCKED)),
            (
                "celery prefork",
                "celery/celery#1564",
                _ONE.replace("requests", "tasks").replace("request", "task"),
                (_LEAK, _NESTED),
            ),
        ),
        1,
    )
)
