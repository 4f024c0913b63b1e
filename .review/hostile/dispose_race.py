"""Thread A: engine.raw_connection() in a loop; thread B: engine.dispose() in a loop. Bare SQLAlchemy never raises."""
from h import *
bare = "bare" in sys.argv
if "slow" in sys.argv: pass
else: sys.setswitchinterval(1e-5)
e = engine(pool_size=5); 
if not bare: instrument(e)
errs = {}; stop=False; n=[0]
import traceback
def a():
    while not stop:
        try: c = e.raw_connection(); c.close(); n[0]+=1
        except Exception as x:
            k = repr(x)[:90]
            if k not in errs: errs[k] = 0; tb = traceback.format_exc().splitlines()[-7:]; print(*tb, sep="\n")
            errs[k]+=1
def b():
    while not stop: e.dispose(); 
ts=[threading.Thread(target=a) for _ in range(3)]+[threading.Thread(target=b)]
[t.start() for t in ts]; time.sleep(6); stop=True; [t.join() for t in ts]
print("bare" if bare else "watched", "checkouts", n, "errors in the application:", errs)
