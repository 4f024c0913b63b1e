"""LockedPoolState (what a free-threaded build uses): fork while another thread is inside a transition."""
from h import *
import os, signal
from pool_exporter.locked import LockedPoolState
st = LockedPoolState(time.monotonic_ns, 5)
import pool_exporter.monitor as mm, pool_exporter.locked as lk
mm.pool_state = LockedPoolState
e = engine(); m = instrument(e)
ins = threading.Event(); go = threading.Event()
def hold():
    with m._state._lock: ins.set(); go.wait()
threading.Thread(target=hold, daemon=True).start(); ins.wait()
pid = os.fork()
if pid == 0: os._exit(0)
for _ in range(20):
    time.sleep(.1)
    if os.waitpid(pid, os.WNOHANG)[0]: print("child ran"); break
else: print("child hangs in the fork hook (2 s), killing it"); os.kill(pid, 9); os.waitpid(pid,0)
go.set()
