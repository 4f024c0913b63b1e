from h import *
def make(watch):
    p = QueuePool(conn)
    if watch: instrument(p)
    return p.connect
for w in (False, True):
    c = make(w)
    try: print(w, c())
    except Exception as x: print(w, repr(x))
