from h import *
a = engine(pool_size=1, max_overflow=0); b = create_engine("sqlite://", pool=a.pool)
ma, mb = instrument(a, name="A"), instrument(b, name="B"); print("same monitor", ma is mb, ma, end=" ")
a.dispose()
ca, cb = a.connect(), b.connect()
for _ in range(3): show(ma)
print("after A.dispose(), one out of each pool:", show(ma), "max", ma.snapshot().max)
mb2 = instrument(b); print("instrument(B) gives A's:", mb2 is ma)
ca.close(); cb.close()
b.dispose(); ca, cb = a.connect(), b.connect()
for _ in range(3): show(ma)
s = ma.snapshot(); print("two separate engines and pools, one monitor: used", s.used, "of max", s.max, show(ma))
# a pool watched first, then its engine
e = engine(pool_size=2, max_overflow=0); m1 = instrument(e.pool); m2 = instrument(e, name="e"); c = e.connect(); e.dispose(); d = e.connect()
for _ in range(3): show(m2)
print("pool first, then engine, dispose with one out:", show(m2), "limit", m2._state.limit, "identity", m2.identity)
# engine.pool replaced by hand, then instrument again
e = engine(pool_size=2); m1 = instrument(e, name="x"); e.pool = QueuePool(conn, pool_size=2); m2 = instrument(e, name="y"); e.dispose(); c = e.connect()
for n,m in (("old", m1), ("new", m2)):
    try: print("pool swapped by hand:", n, show(m))
    except ValueError as x: print(n, x)
c.close(); e.dispose()
for n,m in (("old", m1), ("new", m2)):
    try: print("  after return:", n, show(m))
    except ValueError as x: print(n, x)
