"""Scrapes while pools are closed and watched anew, one connection out."""
from h import *
sys.setswitchinterval(1e-5)
e = engine(); c = e.connect(); stop=False; err={}; n=0
def scrape():
    global n
    while not stop:
        try: pm.snapshot(); n+=1
        except Exception as x: k=repr(x)[:80]; err[k]=err.get(k,0)+1
ts=[threading.Thread(target=scrape) for _ in range(3)]; [t.start() for t in ts]; end=time.time()+6; k=0
while time.time()<end: m=instrument(e); k+=1; time.sleep(.0005); m.close()
stop=True; [t.join() for t in ts]; print("cycles", k, "scrapes", n, "failed", err)
