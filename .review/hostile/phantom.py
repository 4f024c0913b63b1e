"""look(): between reading record.fairy_ref and the state, the application returns the connection."""
from h import *
e = engine(pool_size=2); m = instrument(e); hooks = m._hooks()
c = e.raw_connection(); orig = hooks._catch_up; once=[]
def catch_up(connection, checkout, *a):
    if not once: once.append(1); keep.append(c); t = threading.Thread(target=c.close); t.start(); t.join()
    return orig(connection, checkout, *a)
keep=[]; hooks._catch_up = catch_up
m.snapshot(); hooks._catch_up = orig; keep.clear(); del c; gc.collect()
print("nothing is out:", e.pool.checkedout(), "ours:", show(m)); show(m); print("drift then:", show(m)["drift"], end=" ")
e.connect().close(); s=show(m); print("after one ordinary checkout: leaked", s["leaked"])
