from h import *
if "d" not in sys.argv: sys.setswitchinterval(1e-5)
e = engine(pool_size=4,max_overflow=2); m = instrument(e); stop=False
def w():
    while not stop:
        c=e.raw_connection(); c.close()
ts=[threading.Thread(target=w) for _ in range(6)]; [t.start() for t in ts]
seen={}; end=time.time()+6; n=0
while time.time()<end:
    d=m.snapshot().accounting_drift; n+=1
    d=m.snapshot().accounting_drift; n+=1
    seen[d]=seen.get(d,0)+1; time.sleep(.0003)
stop=True; [t.join() for t in ts]
print(n, "drift seen:", seen, "at rest", show(m)["drift"], show(m)["drift"])
