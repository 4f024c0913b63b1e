"""Monitor.close() while a caller waits inside connect(); then the pool is watched anew."""
from h import *
go = threading.Event(); inside = threading.Event()
def slow(): inside.set(); go.wait(); return conn()
e = engine(creator=slow, pool_size=2); m = instrument(e); got = []
t = threading.Thread(target=lambda: got.append(e.connect())); t.start(); inside.wait()
m.close(); go.set(); t.join()
rec = got[0].connection._connection_record
print("left on the record after close():", rec.__dict__.get("_pool_exporter"))
m2 = instrument(e)
print("new monitor, 1 out:", show(m2), e.pool.status())
got[0].close()
try: print("back:", show(m2))
except ValueError as x: print("back:", x)
for _ in range(3):
    try:
        with e.connect(): print("out again:", show(m2))
    except ValueError as x: print(x)
e.dispose()
try: print("disposed:", show(m2))
except ValueError as x: print("snapshot:", x)
