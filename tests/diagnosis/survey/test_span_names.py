"""Without a unit of work, the current OpenTelemetry span of a task names it, as far as Python shows contexts."""

import asyncio
import sys
import threading

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from pool_exporter.diagnosis.survey.span_names import span_name_of

IS_SHOWN = sys.version_info >= (3, 12)


async def name_in_span(from_outside: bool) -> str:
    """Return the name that is found for a task in a span, from itself or from another task."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("shop")
    over, began = asyncio.Event(), asyncio.Event()

    async def request() -> str:
        with tracer.start_as_current_span("GET /orders"):
            began.set()
            await over.wait()
            return span_name_of(asyncio.current_task())

    task = asyncio.create_task(request())
    await began.wait()
    found = span_name_of(task)
    over.set()
    return found if from_outside else await task


@pytest.mark.parametrize("from_outside", [True, False])
def test_span_of_a_task(from_outside: bool) -> None:
    """It is found while the task is suspended and while it runs."""
    assert ("GET /orders" if IS_SHOWN else "") == asyncio.run(name_in_span(from_outside))


def test_no_span() -> None:
    """A task without a span, a thread and nothing at all have no name."""

    async def main() -> str:
        return span_name_of(asyncio.current_task())

    assert ["", "", ""] == [asyncio.run(main()), span_name_of(threading.current_thread()), span_name_of(None)]


def test_span_of_another_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tracer that raises, or has spans without a name, is no fault."""

    async def main() -> str:
        return span_name_of(asyncio.current_task())

    def fail() -> None:
        raise ValueError("the application's tracer")

    monkeypatch.setattr(trace, "get_current_span", fail)

    assert asyncio.run(main()) == ""
