from h import *
import inspect, copy, pickle, weakref
from unittest import mock
def creator(rec): return conn()
for w in (False, True):
    p = QueuePool(creator)
    n = NullPool(creator)
    if w: instrument(p); instrument(n)
    print("WATCHED" if w else "BARE", "signature", inspect.signature(p.connect), "| __self__", hasattr(p.connect, "__self__"), "| ismethod", inspect.ismethod(p.connect), end=" ")
    try:
        with mock.patch.object(p, "connect", autospec=True) as f: f.return_value = 1; print("| autospec call", p.connect(), end=" ")
    except Exception as x: print("| autospec:", repr(x), end=" ")
    try: q = pickle.loads(pickle.dumps(n)); q.connect(); print("| pickle ok", end=" ")
    except Exception as x: print("| pickle:", repr(x)[:100], end=" ")
    try: q = copy.copy(p); k = q.connect(); print("| copy's connect gives a connection of the copy:", k._pool is q, end=" ")
    except Exception as x: print("| copy:", repr(x)[:80], end=" ")
    q = copy.copy(n); del n; gc.collect()
    try: q.connect(); print("| copy of dead: ok")
    except Exception as x: print("| copy of dead:", repr(x)[:80])
