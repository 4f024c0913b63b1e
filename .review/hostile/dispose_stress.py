"""Checkouts from 6 threads while one disposes; then all stop: is everything back to zero?"""
from h import *
if "d" not in sys.argv: sys.setswitchinterval(1e-6)
logging.disable(logging.CRITICAL)
e = engine(pool_size=3,max_overflow=2); m = instrument(e); stop=False; app={}; n=[0]
def w():
    while not stop:
        try: c=e.raw_connection(); time.sleep(0); c.close(); n[0]+=1
        except Exception as x: app[repr(x)[:60]]=app.get(repr(x)[:60],0)+1
def d():
    while not stop: e.dispose(); time.sleep(.0005)
ts=[threading.Thread(target=w) for _ in range(6)]+[threading.Thread(target=d)]; [t.start() for t in ts]
err={}; end=time.time()+7
while time.time()<end:
    time.sleep(.005)
    try: m.snapshot()
    except Exception as x: k=str(x)[:45]; err[k]=err.get(k,0)+1
stop=True; [t.join() for t in ts]; gc.collect(); st=m._state
chain=0; f=e.pool.__dict__["connect"]
while f is not None and chain<50: chain+=1; f=getattr(f,"_pool_exporter_before",None)
print("n",n,"app",app,"snap errors",dict(list(err.items())[:3]),"| self.used",st.used,"pending",st.pending,"limit",st.limit,"want 5; rows dup",len(st._use_rows)-len(set(st._use_rows)),len(st._ask_rows)-len(set(st._ask_rows)),"connects nested",chain, end=" ")
try: print(show(m))
except Exception as x: print("FINAL",x)
