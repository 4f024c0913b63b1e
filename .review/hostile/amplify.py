"""One pool whose words make no sense: everybody's scrape fails, and close() raises and removes nothing."""
from h import *
from pool_exporter import layout as L
a, b = engine(), engine(); ma, mb = instrument(a, name="a"), instrument(b, name="b")
ma._state.words[L.OPEN] -= 1
try: print(pm.snapshot())
except Exception as x: print("whole snapshot:", repr(x))
try: ma.close()
except Exception as x: print("close():", repr(x), "still armed:", "connect" in a.pool.__dict__)
