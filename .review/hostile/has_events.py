"""Does watching slow statements down, and is that gone after close()?"""
from h import *
from sqlalchemy import text
import timeit
def cost(en):
    with en.connect() as c:
        t=text("select 1"); c.execute(t)
        return min(timeit.repeat(lambda: c.execute(t), number=3000, repeat=9))/3000*1e6
e=engine(); a=cost(e); h0=e._has_events; m=instrument(e); b=cost(e); h1=e._has_events; m.close(); d=cost(e)
print(f"us per execute: bare {a:.2f}, watched {b:.2f}, closed {d:.2f}; _has_events {h0} {h1} {e._has_events}; left in pool.__dict__:", [k for k in e.pool.__dict__ if k in ("connect","_return_conn") or "exporter" in k])
