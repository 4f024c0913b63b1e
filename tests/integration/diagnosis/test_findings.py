"""A report on a real pool names what `check` has found, where it explains the verdict."""

import logging
import sys
from pathlib import Path

import pytest
from sqlalchemy import QueuePool, create_engine
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

import pool_exporter


def test_self_deadlock_names_the_nested_checkouts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """P31 is in the report, its log line and the note of the TimeoutError; other findings of the engine are not."""
    engine = create_engine(
        f"sqlite:///{tmp_path}/orders.db", poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=2, echo=True
    )
    caplog.set_level(logging.WARNING, "pool_exporter.diagnosis")
    with pool_exporter.instrument(engine, "orders") as monitor:
        with (
            pool_exporter.unit("job"),
            engine.connect(),
            pytest.raises(PoolTimeoutError) as raised,
        ):
            engine.connect()
        made = monitor.diagnoses[-1]
    engine.dispose()

    assert "self_deadlock" == made.verdict
    assert ["Check P31"] == [text[:9] for text in made.explained_by]
    assert "Check P31: 1 times a unit of work asked for a second connection" in " ".join(str(made).split())
    assert "pool-exporter check --explain P31" in " ".join(caplog.text.split())
    assert "P23" not in caplog.text
    if sys.version_info >= (3, 11):
        assert "Check P31" in "".join(raised.value.__notes__)
