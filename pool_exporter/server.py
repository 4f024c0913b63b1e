"""The pages on a port of their own, served by threads of their own: they answer while the event loop is blocked.

Everything has a limit: the connections at a time, the seconds that a client may take to ask and to read, one answer
being rendered at a time. One connection is one request. What the pages hold is exposition's.

The server is its process': a forked child has neither its threads nor its port, and starts one of its own on another
port (port=0 takes any that is free).
"""

import logging
import os
import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer
from types import TracebackType
from typing import Any, ClassVar, Final
from urllib.parse import unquote
from weakref import WeakSet

from pool_exporter import monitor
from pool_exporter.exposition import Request, Source, respond, takes_snapshot
