"""The real pool, default switch interval, 16 threads, limit 4: falls of the integrals and failed snapshots."""
from h import *
e = engine(pool_size=4, max_overflow=0, pool_timeout=60); m = instrument(e); stop=False
def work():
    while not stop:
        c = e.raw_connection(); c.close()
ts=[threading.Thread(target=work) for _ in range(16)]; [t.start() for t in ts]
prev=None; falls={}; worst={}; err={}; n=0; end=time.time()+float(sys.argv[1] if len(sys.argv)>1 else 8)
while time.time()<end:
    time.sleep(0.0005)
    try: s=m.snapshot()
    except Exception as x: k=type(x).__name__+str(x)[:60]; err[k]=err.get(k,0)+1; continue
    n+=1; cur=dict(u=s.used_seconds,p=s.pending_seconds,s=s.saturated_seconds,co=s.checkouts)
    if prev:
        for k in cur:
            if cur[k]<prev[k]: falls[k]=falls.get(k,0)+1; worst[k]=max(worst.get(k,0),prev[k]-cur[k])
    prev=cur
stop=True;[t.join() for t in ts]
print("snapshots",n,"falls",falls,{k:f"{v:.1e}" for k,v in worst.items()},"errors",err); 
try: print(show(m), show(m)["drift"])
except Exception as x: print("FINAL", x)
