"""The process of one variant: `python -m tests.bench.worker pair pool_exporter` prepares it and serves requests.

A subject is a module of this package with a function `jobs`, which takes the further arguments and returns the jobs by
name. A request is a line `name count`, the reply a line of JSON. Nothing may be measured here.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TextIO

Job = Callable[[int], object]
"""Does something that many times and returns what was measured, as JSON can hold it."""


def main() -> None:
    """Prepare the subject, print its jobs or why there are none, and serve requests until the driver has no more."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # Output of a library must not be taken for a reply.
    subject, *arguments = sys.argv[1:]
    try:
        jobs: Mapping[str, Job] = import_module(f"tests.bench.{subject}").jobs(*arguments)
    except Exception as error:  # noqa: BLE001  # whatever it is, the driver prints it in the variant's place
        _reply(replies, {"absent": f"{type(error).__name__}: {error}"})
    else:
        _reply(replies, {"jobs": list(jobs)})
        for line in sys.stdin:
            name, count = line.split()
            _reply(replies, jobs[name](int(count)))


def _reply(replies: TextIO, value: object) -> None:
    replies.write(json.dumps(value) + "\n")


if __name__ == "__main__":
    main()
