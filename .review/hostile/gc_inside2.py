"""Where in state.py does the collector run, with other threads allocating? (3.12: the flag is the interpreter's.)"""
import sys, gc, threading, time, inspect, collections, weakref
sys.setswitchinterval(1e-6)
from pool_exporter.state import PoolState
import pool_exporter.state as S
st=PoolState(time.monotonic_ns, 5)
src=inspect.getsource(S).splitlines()
hits=collections.Counter()
def cb(phase, info):
    if phase!="start": return
    try: f=sys._getframe(1)
    except ValueError: return
    if f.f_code.co_filename==S.__file__: hits[(f.f_lineno, f.f_code.co_name, src[f.f_lineno-1].strip()[:60])]+=1
gc.callbacks.append(cb)
gc.set_threshold(1,1000,1000)
class F: pass
f=F(); r=weakref.ref(f); stop=False
def alloc():
    while not stop: [[] for _ in range(5)]
ts=[threading.Thread(target=alloc) for _ in range(2)]; [t.start() for t in ts]
cs=[]; end=time.time()+6; i=0
while time.time()<end:
    i+=1; c=cs.pop() if cs else st.opened(1)
    a=st.asked(); st.granted(a,c,r,r); st.returned(c)
    if i%3==0: st.failed(st.asked(),"timeout")
    st.window_end = 0 if i%2 else st.window_end
    st.closed(c,"recycle") if i%5==4 else cs.append(c)
stop=True; gc.set_threshold(700)
print(sys.version.split()[0], "collections begun inside state.py:"); [print("  ",v,k) for k,v in sorted(hits.items())]
