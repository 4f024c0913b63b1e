"""Deterministic: another thread disposes the engine while a caller is between `engine.pool` and our `connect`'s use of it."""
from h import *
e = engine(); m = instrument(e); real = m._state.clock
def clock():
    if threading.current_thread() is threading.main_thread() and not done:
        done.append(1); t = threading.Thread(target=e.dispose); t.start(); t.join()
    return real()
done = []; m._state.clock = clock
try: c = e.raw_connection(); print("ok", c)
except Exception as x: print("raised into the application:", repr(x))
print(show(m))
