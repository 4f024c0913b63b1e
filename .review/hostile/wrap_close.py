"""A user's wrapper over ours (plain, or functools.wraps), then close(), then watched anew."""
from h import *
import functools
for wraps in (False, True):
    e = engine(pool_size=2); m = instrument(e); inner = e.pool.connect; calls = []
    def mine(): calls.append(1); return inner()
    if wraps: mine = functools.wraps(inner)(mine)
    e.pool.connect = mine
    m.close()
    print("wraps" if wraps else "plain", "| user's wrapper survives close():", e.pool.__dict__.get("connect") is mine, end=" ")
    e.connect().close(); print("| its calls:", calls, end=" ")
    m = instrument(e); c = e.connect()
    try: print("| watched anew, 1 out:", show(m))
    except ValueError as x: print("|", x)
    c.close()
    try: print("   back:", show(m))
    except ValueError as x: print("|", x)
