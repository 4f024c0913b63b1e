"""StaticPool / SingletonThreadPool: T1's return reads the clock, is switched out; the connection is returned and lent anew."""
from pool_exporter.state import PoolState
from pool_exporter.snapshot import decode, PoolIdentity, PoolConfig
class K:
    now=1000; hook=None
    def __call__(s):
        v=s.now
        if s.hook: h,s.hook=s.hook,None; h()
        return v
k=K(); st=PoolState(k); c=st.opened(1); st.granted(st.asked(), c, None, None)
def other(): st.returned(c); k.now += 10**9; st.granted(st.asked(), c, None, None)
k.hook=other; st.returned(c)
try: print(decode(st.read(), k.now, PoolIdentity("x"), PoolConfig()).use_time.sum)
except ValueError as x: print(x)
