"""A user's engine_disposed listener (registered first) that warms the new pool: replaced() never runs."""
from h import *
e = engine(pool_size=2, max_overflow=0)
event.listen(e, "engine_disposed", lambda en: en.connect().close())
m = instrument(e); out = [e.connect(), e.connect()]
e.dispose(); 
print("limit word", m._state.limit, "want 4 (2 stale + 2)", show(m)); show(m); show(m); print(show(m)); 
c=[e.connect(), e.connect()]; time.sleep(0.2); s=m.snapshot(); show(m); print("now saturated (2 of 2 of the new pool used): saturated_seconds", s.saturated_seconds, show(m))
