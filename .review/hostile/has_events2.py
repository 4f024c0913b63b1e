from h import *
from sqlalchemy import text, select, literal
import timeit, statistics
e=engine(); m=instrument(e)
def cost(flag):
    e._has_events=flag
    with e.connect() as c:
        t=text("select 1"); c.execute(t)
        return min(timeit.repeat(lambda: c.execute(t), number=1000, repeat=5))/1000*1e6
A=[];B=[]
for _ in range(25): A.append(cost(False)); B.append(cost(True))
print(f"us/execute min: no events {min(A):.2f} with {min(B):.2f} | median {statistics.median(A):.2f} {statistics.median(B):.2f} | median paired diff {statistics.median(b-a for a,b in zip(A,B)):.2f}")
