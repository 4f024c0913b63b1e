from h import *
e=engine(); a=e.connect(); b=e.connect(); b.close(); r=gc.get_referrers(e.pool)
def subs(c):
    yield c
    for s in c.__subclasses__(): yield from subs(s)
from sqlalchemy.engine import Engine
x=engine(); y=engine(poolclass=StaticPool); z=QueuePool(conn)
t=time.perf_counter(); found=gc.get_referrers(*subs(Engine)); fp=gc.get_referrers(*subs(Pool))
print("records found", sum(type(o).__name__=="_ConnectionRecord" for o in r), "engines", sum(issubclass(type(o),Engine) for o in found), "pools", sum(issubclass(type(o),Pool) for o in fp), f"{time.perf_counter()-t:.4f} s")
