from h import *
# 1 recreate() whose result is dropped (or used elsewhere): the pool goes on serving
e = engine(pool_size=1, max_overflow=0); m = instrument(e); e.pool.recreate(); gc.collect()
c = e.connect(); time.sleep(.3); s=m.snapshot(); print("1 recreate() dropped, pool full for 0.3 s: saturated_seconds", s.saturated_seconds, "limit word", m._state.limit, show(m))
# 2 two independent pools from one, as the documentation of recreate() has it
p = QueuePool(conn, pool_size=1, max_overflow=0); m = instrument(p, name="p"); q = p.recreate(); m2 = instrument(q, name="q")
a, b = p.connect(), q.connect(); print("2 p and q both serve: same monitor", m is m2, "used", m.snapshot().used, "of max", m.snapshot().max)
# 3 limit after dispose while stale ones return
from pool_exporter.state import PoolState
class K:
    now=1; hook=None
    def __call__(s): s.now+=1; return s.now
k=K(); st=PoolState(k, 5); cs=[st.opened(1) for _ in range(2)]
for c in cs: st.granted(st.asked(), c, None, None)
st.replaced(5); real=st.live
def live(): st.returned(cs[0]); return real()      # a stale one comes back between the two statements of replaced()
st.live=live; st.replaced(5); st.live=real
for c in cs: st.returned(c)
print("3 second dispose while a stale one returns: limit at rest", st.limit, "want 5")
