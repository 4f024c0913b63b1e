"""SingletonThreadPool(size=2), 8 threads: _cleanup closes connections that other threads use."""
from h import *
if "d" not in sys.argv: sys.setswitchinterval(1e-6)
logging.disable(logging.CRITICAL)
def c(): return sqlite3.connect(":memory:", check_same_thread=False)
e = create_engine("sqlite://", creator=c, poolclass=SingletonThreadPool, pool_size=2); m = instrument(e); stop=False; app={}
def w():
    while not stop:
        def one():
            try:
                f=e.raw_connection(); f.close()
            except Exception as x: app[repr(x)[:50]]=app.get(repr(x)[:50],0)+1
        t=threading.Thread(target=one); t.start(); t.join()
ts=[threading.Thread(target=w) for _ in range(8)]; [t.start() for t in ts]
end=time.time()+8; err={}
while time.time()<end:
    time.sleep(.01)
    try: m.snapshot()
    except Exception as x: err[str(x)[:38]]=err.get(str(x)[:38],0)+1
stop=True; [t.join() for t in ts]; gc.collect()
st=m._state
print("snapshot errors", err, "app", app, "| self.used", st.used, "dup rows", len(st._use_rows)-len(set(st._use_rows)), end=" ")
try: print(show(m))
except Exception as x: print("FINAL", x)
