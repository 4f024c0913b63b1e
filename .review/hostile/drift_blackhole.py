"""A connect that hangs, an overflow close that hangs: drift over many scrapes."""
from h import *
go = threading.Event(); started=threading.Event()
def slow():
    started.set(); go.wait(); return conn()
e = engine(creator=slow); m = instrument(e)
t = threading.Thread(target=lambda: e.connect().close()); t.start(); started.wait()
for _ in range(3): show(m)
print("connecting:", show(m)); go.set(); t.join()
class C:
    def __init__(s): s.c = conn()
    def __getattr__(s, n): return getattr(s.c, n)
    def close(s): started.set(); go.wait(); s.c.close()
e = engine(creator=C, pool_size=1, max_overflow=1); m = instrument(e); a, b = e.connect(), e.connect()
a.close(); go.clear(); started.clear(); t = threading.Thread(target=b.close); t.start(); started.wait()
for _ in range(3): show(m)
print("overflow close hangs:", show(m)); go.set(); t.join()
