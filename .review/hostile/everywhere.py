from h import *
import functools
# 1 user's subclass with a plain lock (or any side effect) around super().connect()
class MyPool(QueuePool):
    def __init__(s,*a,**k): super().__init__(*a,**k); s.lock=threading.Lock(); s.calls=0
    def connect(s):
        s.calls += 1
        if not s.lock.acquire(timeout=1): raise RuntimeError("DEADLOCK: override entered twice")
        try: return super().connect()
        finally: s.lock.release()
# 2 other library's wrapper on the class
other = []
ev = pool_exporter.instrument_all()
e = engine(poolclass=MyPool)
try: c = e.connect(); c.close(); print("1 override called", e.pool.calls, "times for one checkout", end=" ")
except BaseException as x: print("1", repr(x), end=" ")
p = QueuePool(conn); calls=[]; inner=p.connect
def mine(): calls.append(1); return inner()
p.connect = mine; p.connect().close(); print("| user's instance wrapper called", len(calls), "times for one checkout", end=" ")
ours = Pool.connect
@functools.wraps(ours)
def lib(self): other.append(1); return ours(self)
Pool.connect = lib
e = engine(); [e.connect().close() for _ in range(3)]
print("\n2 other library's class wrapper saw", len(other), "of 3 checkouts", end=" ")
ev.close(); print("| survives our close():", Pool.connect is lib)
Pool.connect = ours._pool_exporter_replaced[1]
# 3 closes what it did not start
e = engine(); m = instrument(e, name="mine")
with pool_exporter.instrument_all(): pass
print("3 the user's own monitor after `with instrument_all()`:", m)
# 4 locals of the caller kept alive
import weakref
class Big: pass
def work(p):
    b = Big(); r = weakref.ref(b); c = p.connect(); del b; return r() is None
print("4 a local of the caller freed on del: bare", work(QueuePool(conn)), end=" ")
with pool_exporter.instrument_all(): print("everywhere", work(QueuePool(conn)))
# 5 signature
