from h import *
e=engine(); m=instrument(e); e._has_events=False; e.connect().close(); e.dispose(); e.connect().close(); e.dispose(); e.connect().close()
print("re-armed with _has_events put back:", show(m), "connect" in e.pool.__dict__)
