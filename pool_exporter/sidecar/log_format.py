"""Log lines in the format of Prometheus' own programs: logfmt or JSON on stderr, one line for each event.

The `fields` of a log record, given as `extra={"fields": {…}}`, are keys of their own. A traceback is the value of a
key, so that the event stays on one line. Nothing here may know what is logged.
"""

import json
import logging
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Final

from pool_exporter.errors import without_passwords

LEVELS: Final = ("debug", "info", "warn", "error")
FORMATS: Final = ("logfmt", "json")

_BARE: Final = re.compile(r"[^\s\"=\\\x00-\x1f\x7f-\x9f]+")
_NAMES: Final = {"WARNING": "WARN", "CRITICAL": "ERROR"}


class LineFormatter(logging.Formatter):
    """Formats a log record as one line.

    Args:
        form: One of FORMATS.
    """

    def __init__(self, form: str) -> None:
        super().__init__()
        self._write = _as_json if form == "json" else _as_logfmt

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without a line break."""
        time = datetime.fromtimestamp(record.created, timezone.utc)
        fields: dict[str, object] = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": _NAMES.get(record.levelname, record.levelname),
            "msg": without_passwords(record.getMessage()),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            fields["traceback"] = without_passwords(self.formatException(record.exc_info))
        return self._write(fields)


def configure(level: str, form: str) -> None:
    """Log to stderr. Of uvicorn's own messages only errors are logged, and at level `debug` all of them.

    Args:
        level: One of LEVELS.
        form: One of FORMATS.
    """
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
