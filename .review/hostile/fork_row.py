"""After such a fork one ask row is on the free list twice: two callers of the child share it; what the second's wait is."""
from h import *
import os
def creator():
    global pid
    pid = os.fork() if pid is None else pid
    return conn()
pid = None
e = engine(creator=creator, pool_size=3); m = instrument(e); c = e.connect()
if pid == 0:
    time.sleep(1.5)                     # the process's age
    st=m._state; c2=[e.connect(), e.connect()]; [x.close() for x in c2]
    a, b = st.asked(), st.asked()       # two callers at once
    conn1, conn2 = st.opened(1), st.opened(1)
    st.granted(a, conn1, None, None); st.granted(b, conn2, None, None)
    s=m.snapshot(); print("child: rows of the two callers", a, b, "| wait_time sum", s.wait_time.sum, "s (true: some ms); state.pending", st.pending, flush=True); os._exit(0)
os.waitpid(pid, 0)
