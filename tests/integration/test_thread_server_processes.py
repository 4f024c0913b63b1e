"""The thread server in a program: it does not keep the program from ending, and no forked child inherits it."""

import json
import subprocess
import sys

from tests.serving import run

FORK = """
import json, os, socket, sys, threading, urllib.request
import pool_exporter

def healthy(server):
    return urllib.request.urlopen(server.url + "-/healthy").read().decode().strip()

def sockets():
    links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    return sum(os.readlink(link).startswith("socket:") for link in links if os.path.exists(link))

server = pool_exporter.start_http_server(0)
client = socket.create_connection((server.addr, server.port))
healthy(server)
reader, writer = os.pipe()
child = os.fork()
if child == 0:
    found = [sockets()]
    with pool_exporter.start_http_server(0) as other:
        found.append(healthy(other))
    os.write(writer, json.dumps([*found, threading.active_count()]).encode())
    sys.stdin.readline()
    server.close()
    os._exit(7)
found = json.loads(os.read(reader, 1000))
found.append(healthy(server))
server.close()  # The child is there still: if it held the port, that could not be had again.
with pool_exporter.start_http_server(server.port) as again:
    found.append(healthy(again))
print(json.dumps(found), flush=True)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_forked_child_has_nothing_of_its_parents_server() -> None:
    """A forked child has no socket or thread of its parent's server, and can start one of its own.

    The parent goes on serving, and its port is free when it closes.
    """
    command = [sys.executable, "-W", "ignore", "-c", FORK]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = json.loads(process.stdout.readline())
        child, _ = process.communicate("go\n", timeout=30)

    only_the_clients = 1
    assert [only_the_clients, "healthy", 1, "healthy", "healthy"] == found
    assert "7\n" == child


DAEMON = """
import socket
import pool_exporter

server = pool_exporter.start_http_server(0)
idle = socket.create_connection((server.addr, server.port))
print(server.port > 0)
"""


def test_process_ends_although_it_serves() -> None:
    """A server with a connected client does not keep its process from ending."""
    assert "True" == run(DAEMON)


WITHOUT_STARLETTE = """
import sys, urllib.request
sys.modules["starlette"] = None
import pool_exporter

with pool_exporter.start_http_server(0) as server:
    print(urllib.request.urlopen(server.url + "metrics").status)
"""


def test_starlette_is_not_needed() -> None:
    """A Flask service is scraped without Starlette."""
    assert "200" == run(WITHOUT_STARLETTE)


PRELOAD = """
import logging, os, sys, urllib.request, warnings
import pool_exporter
from sqlalchemy import create_engine

logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")
warnings.simplefilter("ignore")  # Python 3.12 and later warn of a fork beside a thread.
engine = create_engine("sqlite://")
pool_exporter.instrument(engine)
server = pool_exporter.start_http_server(0)
if (child := os.fork()) == 0:
    engine.connect().close()
    os._exit(0)
os.waitpid(child, 0)
for _ in range(2):
    urllib.request.urlopen(server.url + "metrics").read()
"""


def test_preloaded_server_says_why_its_page_shows_zeros() -> None:
    """Where only forked workers use the pools, the worker logs it once, and then the process that serves."""
    of_worker, of_server = run(PRELOAD).splitlines()

    assert "uses its pools, and was forked by process" in of_worker
    assert of_server.startswith("WARNING the metrics of process ")


OUT_OF_DESCRIPTORS = """
import os, resource, socket, threading, time
import pool_exporter

server = pool_exporter.start_http_server(0)
client = socket.create_connection((server.addr, server.port))  # Everything that is imported late is imported now.
client.sendall(b"GET /metrics HTTP/1.0\\r\\n\\r\\n")
while client.recv(65536):
    pass
while threading.active_count() > 2:
    time.sleep(0.01)
waiting = socket.socket()
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
taken = []
while len(taken) < 1000:
    try:
        taken.append(os.dup(0))
    except OSError:
        break
waiting.connect((server.addr, server.port))
waiting.sendall(b"GET /metrics HTTP/1.0\\r\\n\\r\\n")
waiting.settimeout(1)
before = time.process_time()
try:
    waiting.recv(1)
except TimeoutError:
    pass
spent = time.process_time() - before
for each in taken:
    os.close(each)
waiting.settimeout(30)
print(spent < 0.1, waiting.recv(15))
"""


def test_server_waits_when_descriptors_run_out() -> None:
    """Without a free file descriptor the server neither ends nor loops, and responds when there is one again."""
    assert "True b'HTTP/1.0 200 OK'" == run(OUT_OF_DESCRIPTORS)


NO_THREADS = """
import socket, threading
import pool_exporter
from pool_exporter.web import wsgi_server as module

module.CONNECTIONS_MAX = 1  # A connection that is forgotten would be one too many.
server = pool_exporter.start_http_server(0)

def first_word():
    client = socket.create_connection((server.addr, server.port))
    client.sendall(b"GET /-/healthy HTTP/1.0\\r\\n\\r\\n")
    return client.recv(12)

usual = threading.stack_size(1 << 47)  # More than an address space holds: starting a thread fails.
refused = first_word()
threading.stack_size(usual)
print(refused, first_word())
"""


def test_server_goes_on_when_threads_run_out() -> None:
    """Where no thread can be started the client gets a 503, and the next client is served."""
    assert "b'HTTP/1.0 503' b'HTTP/1.0 200'" == run(NO_THREADS)
