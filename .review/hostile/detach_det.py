"""Deterministic detach race: SQLAlchemy puts the record back BEFORE it fires `detach`; another thread takes it and opens a
connection on it, and our two handlers overlap."""
from h import *
logging.disable(logging.CRITICAL)
def run(where):
    e = engine(pool_size=1, max_overflow=0); m = instrument(e); hooks = m._hooks(); errors.count=0
    c = e.raw_connection(); got=[]
    def other():
        t = threading.Thread(target=lambda: got.append(e.raw_connection())); t.start(); t.join()
    if where == "A":   # inside _on_detach, after it has found its connection, before it deletes the attribute
        orig = hooks._leave
        real = hooks._tracked; n=[0]
        def tracked(record):
            r = real(record)
            if not n[0]: n[0]=1; other()
            return r
        hooks._tracked = tracked
        c.detach(); hooks._tracked = real
    if where == "B":   # inside state.detached, at the clock call of returned()
        realclock=m._state.clock; n=[0]
        def clock():
            n[0]+=1
            if n[0]==1: other()
            return realclock()
        m._state.clock=clock; c.detach(); m._state.clock=realclock
    try: print(where, show(m), end=" | ")
    except ValueError as x: print(where, x, "errors", errors.count, end=" | ")
    c.close(); got[0].close()
    try: s=show(m); print("both closed:", s)
    except ValueError as x: print("both closed:", x)
run("A"); run("B")
