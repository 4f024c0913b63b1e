"""pool.dispose() without engine.dispose(), one connection out."""
from h import *
e = engine(pool_size=2,max_overflow=0); m = instrument(e); c = e.connect(); e.pool.dispose(); show(m); show(m); print("out", show(m), e.pool.status()); c.close(); show(m); show(m); print("back", show(m), e.pool.status())
