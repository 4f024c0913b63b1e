"""Log lines as Prometheus' own programs write them: one line an event, logfmt or JSON, on stderr.

A record's `fields`, given as `extra={"fields": {…}}`, become keys of their own. A traceback is one more value: whatever
is in it, the event stays on one line.
"""

import json
import logging
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Final

LEVELS: Final = ("debug", "info", "warn", "error")
FORMATS: Final = ("logfmt", "json")

_BARE: Final = re.compile(r"[^\s\"=\\\x00-\x1f\x7f-\x9f]+")
_NAMES: Final = {"WARNING": "WARN", "CRITICAL": "ERROR"}


class LineFormatter(logging.Formatter):
    """Formats a record as one line, by the name of a format."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self._write = _as_json if form == "json" else _as_logfmt

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        time = datetime.fromtimestamp(record.created, timezone.utc)
        fields: dict[str, object] = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": _NAMES.get(record.levelname, record.levelname),
            "msg": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return self._write(fields)


def configure(level: str, form: str) -> None:
    """Send what this process logs to stderr; uvicorn's own chatter only when it is asked for by `debug`."""
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter(form))
    logging.basicConfig(level=_number(level), handlers=[handler], force=True)
    logging.getLogger("uvicorn").setLevel(_number(level) if level == "debug" else logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def _number(level: str) -> int:
    return logging.WARNING if level == "warn" else int(getattr(logging, level.upper()))


def _as_json(fields: Mapping[str, object]) -> str:
    return json.dumps(fields, default=str)


def _as_logfmt(fields: Mapping[str, object]) -> str:
    return " ".join(f"{key}={_quoted(value)}" for key, value in fields.items())


def _quoted(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if _BARE.fullmatch(text) else json.dumps(text)
