"""On a SQLAlchemy that differs in what the hooks rely on, the application gets no error and no number is wrong.

The oracle: every number is as on the installed SQLAlchemy, or the process is degraded; then the used connections are
right and all else is absent.
"""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from tests.integration.other_sqlalchemy import Changes, make_copy, run_all

pytestmark = pytest.mark.timeout(900)
"""The first test runs some forty programs, one after the other."""

PACKAGE = Path(sqlalchemy.__file__).parent
FOLDERS = ("pool", "engine", "event", "ext/asyncio", "connectors", "dialects")

FAIRY = r"(?s)(class _ConnectionFairy\(PoolProxiedConnection\):.*?)"
RECORD = r"(?s)(class _ConnectionRecord\(ConnectionPoolEntry\):.*?)"
INVALIDATE = r"def invalidate\(\s*self, e: Optional\[BaseException\] = None, soft: bool = False"

FAIRY_BASE = """class _FairyBase(PoolProxiedConnection):
    __slots__ = ()

    def detach(self):
        self._detach()


class _ConnectionFairy(_FairyBase):"""
RECORD_BASE = """class _RecordBase(ConnectionPoolEntry):
    __slots__ = ()

    def invalidate(self, e=None, soft=False):
        self._invalidate_entry(e, soft)


class _ConnectionRecord(_RecordBase):"""

VARIANTS: dict[str, Changes] = {
    "unchanged": [],
    # Renames.
    "detach": [
        (FAIRY + r"def detach\(self\)", r"\1def detach_connection(self)"),
        (r"(fairy|pool_proxied_connection)\.detach\(\)", r"\1.detach_connection()"),
    ],
    "_return_conn": [(r"\b_return_conn\b", "_give_back_conn")],
    "recreate": [(r"\bdef recreate\b", "def _recreate_pool"), (r"\.recreate\(\)", "._recreate_pool()")],
    "__connect": [(r"\b__connect\b", "__open")],
    "__close": [(r"\b__close\b", "__shut")],
    "__pool": [(r"\b__pool\b", "_owning_pool")],
    "_ConnectionRecord": [(r"\b_ConnectionRecord\b", "_PoolEntry")],
    "_ConnectionFairy": [(r"\b_ConnectionFairy\b", "_Proxied")],
    "get_connection": [(r"\bget_connection\b", "acquire_connection")],
    "fairy_ref": [(r"\bfairy_ref\b", "proxy_ref")],
    "_connection_record": [(r"\b_connection_record\b", "_entry")],
    "_dialect": [
        (r"(self|pool)\._dialect\b", r"\1._dialect_impl"),
        (r"    _dialect: Union", "    _dialect_impl: Union"),
    ],
    "_invalidate_time": [(r"\b_invalidate_time\b", "_invalidated_at")],
    "_pre_ping": [(r"\b_pre_ping\b", "_ping_first")],
    "_max_overflow": [(r"\b_max_overflow\b", "_overflow_max")],
    "_do_return_conn": [(r"\b_do_return_conn\b", "_put_back")],
    "_create_connection": [(r"\b_create_connection\b", "_new_entry")],
    "_close_connection": [(r"\b_close_connection\b", "_end_connection")],
    "_exec_w_sync_once": [(r"\b_exec_w_sync_once\b", "_was_run")],
    "starttime": [(r"\bstarttime\b", "opened_at")],
    "_orig_logging_name": [(r"\b_orig_logging_name\b", "_given_logging_name")],
    # New parameters, which SQLAlchemy passes.
    "connect(timeout)": [
        (
            r"def connect\(self\) -> PoolProxiedConnection",
            "def connect(self, *, timeout=None) -> PoolProxiedConnection",
        ),
        (r"self\.pool\.connect\(\)", "self.pool.connect(timeout=None)"),
    ],
    "_return_conn(reset)": [
        (r"def _return_conn\(self, record: ConnectionPoolEntry\)", r"def _return_conn(self, record, reset=True)"),
        (r"\._return_conn\(self\)", "._return_conn(self, reset=False)"),
    ],
    "_return_conn(how, record)": [
        (r"def _return_conn\(self, record: ConnectionPoolEntry\)", r"def _return_conn(self, how, record)"),
        (r"\._return_conn\(self\)", "._return_conn(0, self)"),
    ],
    "invalidate(reason)": [
        (INVALIDATE, r'def invalidate(self, e=None, soft=False, reason=""'),
        (r"\.invalidate\(e=e, soft=soft\)", '.invalidate(e=e, soft=soft, reason="x")'),
    ],
    "detach(close)": [(FAIRY + r"def detach\(self\)", r"\1def detach(self, *, close=False)")],
    "__close(quietly)": [
        (r"__close\(terminate=True\)", "__close(terminate=True, quietly=True)"),
        (r"def __close\(self, \*, terminate: bool = False\)", "def __close(self, *, terminate=False, quietly=False)"),
    ],
    # Methods that move to a base class.
    "Pool's base": [
        (r"def connect\(self\) -> PoolProxiedConnection", "def _was_connect(self)"),
        (
            r"class Pool\(",
            "class _PoolBase:\n    def connect(self):\n        return self._was_connect()\n\n\nclass Pool(_PoolBase, ",
        ),
    ],
    "the fairy's base": [
        (FAIRY + r"def detach\(self\)", r"\1def _detach(self)"),
        (
            r"class _ConnectionFairy\(PoolProxiedConnection\):",
            FAIRY_BASE,
        ),
    ],
    "the record's base": [
        (RECORD + INVALIDATE, r"\1def _invalidate_entry(self, e=None, soft=False"),
        (
            r"class _ConnectionRecord\(ConnectionPoolEntry\):",
            RECORD_BASE,
        ),
    ],
    # Calls that go another way, and values that differ.
    "returns past _return_conn": [(r"pool\._return_conn\(self\)", "pool._do_return_conn(self)")],
    "dispose past recreate": [
        (r"self\.pool = self\.pool\.recreate\(\)", "self.pool = getattr(self.pool, 're' + 'create')()")
    ],
    "checkedout() is no count": [
        (r"return self\._pool\.maxsize - self\._pool\.qsize\(\) \+ self\._overflow", "return -1")
    ],
    "_recycle is None": [
        (r"self\._recycle = recycle", "self._recycle = None if recycle == -1 else recycle"),
        (r"self\.__pool\._recycle > -1", "self.__pool._recycle is not None"),
    ],
    "fairy_ref of another object": [(r"(rec\.fairy_ref = (?:ref = )?weakref\.ref\(\s*)fairy", r"\1pool")],
}


@pytest.fixture(name="outcomes", scope="module")
def _outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Run the application on every copy."""
    sources = [PACKAGE / "__init__.py", *(path for folder in FOLDERS for path in (PACKAGE / folder).rglob("*.py"))]
    texts = {path: path.read_text(encoding="utf-8") for path in sources}
    folders = {name: tmp_path_factory.mktemp("copy") for name in VARIANTS}
    for name, changes in VARIANTS.items():
        make_copy(PACKAGE, texts, folders[name], changes)
    return run_all(folders)


@pytest.mark.parametrize("name", VARIANTS)
def test_right_or_absent_and_said(outcomes: dict[str, dict[str, Any]], name: str) -> None:
    """Whatever differs, the application sees no error, and no number is silently wrong."""
    outcome, right = outcomes[name], outcomes["unchanged"]

    assert [] == outcome["exceptions"]
    assert 0 == outcome["errors"]
    if not outcome["degraded"]:
        assert (right["numbers"], right["uses"]) == (outcome["numbers"], outcome["uses"])
        return
    for pool, values in outcome["numbers"].items():
        count = values.pop("count")

        assert count in (None, {"used": outcome["truth"][pool]})
        assert {None} == set(values.values())


def test_unchanged_copy_is_measured(outcomes: dict[str, dict[str, Any]]) -> None:
    """A release without a change is measured in full, although CI has not run it."""
    assert 0 == outcomes["unchanged"]["degraded"]
    assert {"all": 7, "one": 7, "plugin": 7} == outcomes["unchanged"]["uses"]
    assert {"all": 1, "one": 1, "plugin": 1} == outcomes["unchanged"]["truth"]
