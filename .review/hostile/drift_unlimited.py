from h import *
for kw in (dict(max_overflow=-1), dict(pool_size=0)):
    e = engine(**kw); m = instrument(e); c = e.connect(); e.dispose(); show(m); show(m); print(kw, show(m))
