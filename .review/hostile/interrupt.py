"""A signal handler's exception that lands inside our code, where CPython may run it: at a call."""
from h import *
logging.disable(logging.CRITICAL)
class Soft(Exception): "what celery's SoftTimeLimitExceeded is"
for kind in (KeyboardInterrupt, Soft):
    for at in ("asked", "granted", "returned"):
        e = engine(pool_size=2, max_overflow=0); m = instrument(e); real = m._state.clock; n=[0]
        e.connect().close()
        want = {"asked":1,"granted":2,"returned":3}[at]
        def clock():
            n[0]+=1
            if n[0]==want: raise kind("x")
            return real()
        errors.count=0; m._state.clock = clock; res="swallowed"
        try: c = e.raw_connection(); c.close()
        except kind as x: res="reached the application"
        m._state.clock = real; c=None; gc.collect()
        s=show(m)
        print(f"{kind.__name__:18} in {at:9}: {res:24} pool says out={e.pool.checkedout()}  ours used={s['used']} pending={s['pending']} hook_errors={s['hook_errors']} detached={s['detached']}", "" if not s["pending"] and not e.pool.checkedout() and s["used"]==e.pool.checkedout() else "<<<")
