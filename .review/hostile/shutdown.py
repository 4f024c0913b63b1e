"""Interpreter exit with connections out / idle / detached, the engine global, in a thread-local, in a cycle, in another module."""
import sys, builtins
from h import *
mode = sys.argv[1]
e = engine(pool_size=2); m = instrument(e); c = e.connect(); d = e.connect(); i = e.connect(); i.close()
d.detach()
if mode == "builtins": builtins.keep = (e, c, d)
if mode == "cycle": x=[e,c,d]; x.append(x); del e,c,d,x
if mode == "sys": sys.keep = (e,c,d)
if mode == "fairy": f = e.raw_connection(); sys.keep=f
if mode == "default":
    def g(a=(e,c,d)): pass
    sys.keep=g
if mode == "thread":
    import threading; l = threading.local(); l.x=(e,c,d); sys.keep=l
if mode == "everywhere": pool_exporter.instrument_all(); sys.keep=(e,c)
if mode == "record": sys.keep=c.connection._connection_record; builtins.k2 = c
print(mode, end=";"); sys.stdout.flush()
