"""Without Starlette, an extra: the other modules of the web wing work, and ASGI says what to install."""

import importlib
import sys

import pytest

import pool_exporter.web


@pytest.fixture(autouse=True)
def _without_starlette(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have imports of Starlette fail, and the modules of the web wing be imported anew."""
    monkeypatch.setattr(
        pool_exporter, "web", pool_exporter.web, raising=False
    )  # Put back what importing anew replaces.
    for name in list(sys.modules):
        if name.partition(".")[0] == "starlette" or name.startswith("pool_exporter.web"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "starlette", None)


@pytest.mark.parametrize("name", ["make_asgi_app", "metrics_endpoint"])
def test_asgi_says_what_to_install(name: str) -> None:
    """The error is an ImportError that names the extra and the missing module."""
    with pytest.raises(ImportError, match=r"need Starlette: pip install 'pool-exporter\[asgi\]'") as caught:
        getattr(pool_exporter, name)

    assert "starlette" == (caught.value.name or "").partition(".")[0]


@pytest.mark.parametrize("module", ["wsgi_app", "thread_server", "prometheus_collector", "page"])
def test_other_modules_do_not_need_it(module: str) -> None:
    """Only the ASGI app imports Starlette."""
    assert importlib.import_module(f"pool_exporter.web.{module}") is not None
