"""_roll by two threads: a switch at the loop's jump / at the call of _roll, and what the peaks say afterwards."""
from pool_exporter.state import PoolState
from pool_exporter.snapshot import decode, PoolIdentity, PoolConfig
from pool_exporter import layout as L
class Clock:
    now=1
    def __call__(s): return s.now
S=10**9
def peaks(st,k): s=decode(st.read(), k.now, PoolIdentity("x"), PoolConfig()); return s.used_peak, s.used
# 1: T1 has read the clock in window 1 and stands before _roll (RESUME); T2 does 7 windows of work, with a peak of 3; T1 goes on.
k=Clock(); st=PoolState(k, 9); cs=[st.opened(1) for _ in range(4)]
st.granted(st.asked(), cs[0], None, None)
late=[]
orig=st._roll
def roll(now):
    if not late:
        late.append(1)
        k.now += 35*S
        for c in cs[1:]: st.granted(st.asked(), c, None, None)      # peak 4 in window 8
        for c in cs[1:]: st.returned(c)
        k.now += 5*S; st.returned(st_extra) if False else None
        st.granted(st.asked(), cs[1], None, None); st.returned(cs[1])   # rolls to window 9
    orig(now)
st._roll=roll
k.now=5*S+10; st.returned(cs[0]); st._roll=orig
print("1: peak of the last 60 s is 4; reported (peak, used):", peaks(st,k), "WINDOW", st.words[L.WINDOW], "true window", k.now//L.WINDOW_NS)
st.granted(st.asked(), cs[0], None, None); st.returned(cs[0])
print("   after one more event:", peaks(st,k), "WINDOW", st.words[L.WINDOW])
# 2: switch inside the loop: another thread grants while the stale `used` is about to be stored as the new window's peak
k=Clock(); st=PoolState(k, 9); cs=[st.opened(1) for _ in range(4)]
for c in cs[:1]: st.granted(st.asked(), c, None, None)
class Words:
    def __init__(s, w): s.w=w; s.n=0
    def __getitem__(s,i): return s.w[i]
    def __setitem__(s,i,v):
        s.w[i]=v
        if i==L.PENDING_PEAKS and not s.n:
            s.n=1
            for c in cs[1:]: st.granted(st.asked(), c, None, None)
            for c in cs[1:]: st.returned(c)
    def tolist(s): return s.w.tolist()
st.words=Words(st.words); k.now=5*S+10; st.returned(cs[0])
print("2: peak 4 in the window that begins; reported:", peaks(st,k))
