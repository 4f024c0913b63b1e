"""At which instructions of state.py is a thread switched out? Sampled from another thread."""
import sys, threading, time, collections, weakref, dis, inspect
sys.setswitchinterval(1e-6)
from pool_exporter.state import PoolState
import pool_exporter.state as S
st=PoolState(time.monotonic_ns, 1); src=inspect.getsource(S).splitlines()
class F: pass
f=F(); r=weakref.ref(f); stop=False
def w():
    c=st.opened(1); d=st.opened(1); i=0
    while not stop:
        i+=1
        a=st.asked(); st.granted(a,c,r,r); st.returned(c)
        if i%3==0: st.failed(st.asked(),"timeout")
        if i%5==0: st.closed(c,"recycle"); c=st.opened(1)
        if i%7==0: st.window_end=0
ts=[threading.Thread(target=w) for _ in range(4)]; [t.start() for t in ts]
ids=[t.ident for t in ts]; hits=collections.Counter(); end=time.time()+6
while time.time()<end:
    fr=sys._current_frames()
    for i in ids:
        x=fr.get(i)
        if x and x.f_code.co_filename==S.__file__: hits[(x.f_lineno,x.f_code.co_name,x.f_lasti)]+=1
    del fr
stop=True; [t.join() for t in ts]
ops={}
print(sys.version.split()[0])
byline=collections.Counter()
for (l,n,la),v in hits.items():
    code=getattr(PoolState,n).__code__ if hasattr(PoolState,n) else None
    op=[x.opname for x in dis.get_instructions(code) if x.offset==la] if code else ["comp"]
    byline[(l,n,(op or ["?"])[0],src[l-1].strip()[:64])]+=v
for k,v in sorted(byline.items()): print("  ",v,k)
