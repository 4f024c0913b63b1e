"""Exceptions raised by signal handlers at random moments of connect+close (what Ctrl-C, gunicorn, celery's soft limit do)."""
from h import *
import signal, random
which = {"ki": KeyboardInterrupt, "exc": type("SoftTimeLimit", (Exception,), {})}[sys.argv[1]]; bare = "bare" in sys.argv
logging.disable(logging.CRITICAL)
e = engine(pool_size=3, max_overflow=0, pool_timeout=1); m = None if bare else instrument(e)
fired=[0]; caught=0; slots=0; armed=False
def h(*a):
    if armed: fired[0]+=1; raise which()
signal.signal(signal.SIGALRM, h)
N=int(sys.argv[2]); to=0
for i in range(N):
    c=None
    try:
        armed=True
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 6e-5))
        while True:
            c = e.raw_connection(); c.close()
    except which: caught+=1
    except exc.TimeoutError: to+=1; e.dispose()
    except Exception as x: pass
    finally: armed=False; signal.setitimer(signal.ITIMER_REAL, 0); c=None
    gc.collect() if i%50==0 else None
    if e.pool.checkedout(): gc.collect(); k=e.pool.checkedout(); slots+=k; (e.pool.dispose(), e.dispose()) if k else None
gc.collect()
out = e.pool.checkedout()
print("bare" if bare else "watched", which.__name__, "raised", fired[0], "reached the application", caught, "swallowed", fired[0]-caught, "pool slots lost", slots, "timeouts", to, end=" ")
if m:
    try: print(show(m), m._state.used)
    except Exception as x: print(repr(x))
