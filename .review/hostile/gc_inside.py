"""Does the collector (and a lost connection's finalizer) run between the stores of a transition? Counted with gc.callbacks and frame lines."""
import sys, gc, threading, time, inspect, collections
from pool_exporter.state import PoolState
import pool_exporter.state as S
st=PoolState(time.monotonic_ns, 5)
src=inspect.getsource(S).splitlines()
hits=collections.Counter()
def cb(phase, info):
    if phase!="start": return
    f=sys._getframe(1)
    if f.f_code.co_filename==S.__file__: hits[(f.f_code.co_name, f.f_lineno, src[f.f_lineno-1].strip()[:60])]+=1
gc.callbacks.append(cb); 
class Junk:
    def __init__(s): s.s=s
import weakref
class F: pass
f=F(); r=weakref.ref(f)
gc.set_threshold(1,1000,1000)
cs=[]
for i in range(30000):
    Junk(); c=st.opened(1) if i%5==0 else cs.pop(); 
    a=st.asked(); st.granted(a,c,r,r); st.returned(c)
    if i%5==4: st.closed(c,"recycle")
    else: cs.append(c)
gc.set_threshold(700)
print(sys.version.split()[0], len(hits)); [print("  ",v,k) for k,v in sorted(hits.items(), key=lambda x:x[0][1])]
