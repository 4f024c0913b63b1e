from h import *
if "d" not in sys.argv: sys.setswitchinterval(1e-5)
e = engine(pool_size=4,max_overflow=0); m = instrument(e); stop=False
def w():
    while not stop: c=e.raw_connection(); c.close()
ts=[threading.Thread(target=w) for _ in range(int(sys.argv[1]))]; [t.start() for t in ts]; end=time.time()+8; n=0
while time.time()<end: m.snapshot(); n+=1
stop=True; [t.join() for t in ts]; print(n, "snapshots; nothing out:", e.pool.checkedout(), show(m))
