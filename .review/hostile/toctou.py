"""Deterministic: two threads end the same connection; the switch comes at the clock call, after the state was read."""
from pool_exporter.state import PoolState
from pool_exporter import layout as L
import time
class Clock:
    hook=None; now=1
    def __call__(s):
        s.now+=1000
        if s.hook: h,s.hook=s.hook,None; h()
        return s.now
def fresh():
    k=Clock(); st=PoolState(k, 5); c=st.opened(1); d=st.opened(1); st.granted(st.asked(), c, None, None); return k,st,c,d
def out(name, st): w=st.read(); print(name, "used", st.used, "OPEN", w[L.OPEN], "closes", sum(w[L.CLOSES:L.INVALIDATED]), "uses", sum(w[L.USE:L.USE_SUM]), "free rows", sorted(st._use_rows)[:3], "dup" if len(set(st._use_rows))<len(st._use_rows) else "")
k,st,c,d=fresh(); k.hook=lambda: st.returned(c); st.returned(c); out("returned twice (StaticPool, lost connection + close):  ", st)
k,st,c,d=fresh(); k.hook=lambda: st.closed(c,"overflow"); st.returned(c); out("return while closed (SingletonThreadPool._cleanup):     ", st)
k,st,c,d=fresh(); k.hook=lambda: st.closed(c,"discarded"); st.closed(c,"dispose"); out("closed twice (dispose of a used one, look):             ", st)
k,st,c,d=fresh(); k.hook=lambda: st.closed(c,"discarded"); st.detached(c); out("closed while detached:                                  ", st)
k,st,c,d=fresh(); used=[]
class L2(list): pass
import types
orig=st.live
def live():
    r=orig(); return r
# replaced(): a return between the list of the used ones and the stores (the loop's JUMP_BACKWARD is an eval-breaker check)
from pool_exporter.connection import Connection
k,st,c,d=fresh(); e=st.opened(1); st.granted(st.asked(), d, None, None); st.granted(st.asked(), e, None, None)
class Sneaky(Connection):
    __slots__=()
    @property
    def is_used(self):
        r = self.state in (1,2)
        return r
got = st.live()
def live():
    r = orig(); return r
class Used(list):
    def __iter__(s):
        for i,x in enumerate(list.__iter__(s)):
            yield x
# simulate by a state attribute setter: after the first STALE is stored, another thread returns the second
import pool_exporter.state as S
seen=[]
real_live = st.live
def live():
    r=real_live()
    class It(list):
        def __iter__(s):
            yield from list.__iter__(s)
            st.returned(r[1])          # another thread, between the comprehension's end and the loop
    return It(r)
st.live=live; st.replaced(5); st.live=real_live
w=st.read(); print("replaced() while one of 3 used returns: limit", st.limit, "want 7; states", [x.state for x in st.live()], end=" ")
for x in st.live(): st.returned(x)
out("then all return:", st); print("limit at rest", st.limit, "want 5")
