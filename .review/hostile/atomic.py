"""8 threads hammer PoolState directly, switch interval 1 us; a reader asserts every monotone word and the three integrals."""
import sys, threading, time
sys.setswitchinterval(1e-6)
from pool_exporter.state import PoolState
from pool_exporter import layout as L
from pool_exporter.snapshot import decode, PoolIdentity, PoolConfig
SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 4
LIMIT = int(sys.argv[2]) if len(sys.argv) > 2 else 8
st = PoolState(time.monotonic_ns, LIMIT)
N = 8; stop = False; done = [0]*N
class F: pass
def work(i):
    f = F(); import weakref; r = weakref.ref(f)
    c = st.opened(5)
    n = 0
    while not stop:
        at = st.asked(); st.granted(at, c, r, r); st.returned(c); n += 1
        if n % 7 == 0:
            st.closed(c, "recycle"); c = st.opened(3)
        if n % 11 == 0:
            st.failed(st.asked(), "timeout" if n % 2 else "other")
    done[i] = n; keep.append(c)
keep = []
ts = [threading.Thread(target=work, args=(i,)) for i in range(N)]
[t.start() for t in ts]
prev = None; falls = {}; worst = {}; errs = {}; reads = 0
end = time.time() + SECONDS
while time.time() < end:
    try: s = decode(st.read(), time.monotonic_ns(), PoolIdentity("x"), PoolConfig())
    except ValueError as e:
        k = str(e)[:52]; errs[k] = errs.get(k, 0) + 1; continue
    reads += 1
    cur = dict(connects=s.connects, checkouts=s.checkouts, timeouts=s.timeouts, closes=sum(s.closes.values()), waits=s.wait_time.count, usec=s.used_seconds, psec=s.pending_seconds, ssec=s.saturated_seconds, usum=s.use_time.sum, wsum=s.wait_time.sum)
    if prev:
        for k in cur:
            if cur[k] < prev[k]:
                falls[k] = falls.get(k, 0) + 1; worst[k] = max(worst.get(k, 0), prev[k]-cur[k])
    prev = cur
stop = True; [t.join() for t in ts]
w = st.read(); n = sum(done)
import types
try: s = decode(w, time.monotonic_ns(), PoolIdentity("x"), PoolConfig())
except ValueError as e: print("FINAL", e); s = types.SimpleNamespace(used=0,pending=0,idle=0,checkouts=sum(w[L.WAIT:L.WAIT_SUM])-w[L.FAILURES])
print(sys.version.split()[0], "reads", reads, "ops", n, "| lost updates:", n - s.checkouts, "| used", st.used, s.used, "pending", s.pending, "idle", s.idle, "rowsfree", len(getattr(st,"_use_rows",[])), len(getattr(st,"_ask_rows",[])), "| falls", falls, {k: f"{v:.2e}" for k,v in worst.items()}, "| errs", errs)
