"""An application's `tuple(generator)` on another thread, while instrument() searches the garbage collector's objects."""
from h import *
how = sys.argv[1]; stop=False; err={}; n=0
def rows():
    for i in range(20): yield i
def app():
    global n
    while not stop:
        try: tuple(rows()); n+=1
        except BaseException as x: k=repr(x)[:90]; err[k]=err.get(k,0)+1
ts=[threading.Thread(target=app) for _ in range(4)]; [t.start() for t in ts]; end=time.time()+5; k=0
engines=[engine() for _ in range(5)]; [x.connect().close() for x in engines]
while time.time()<end:
    if how=="instrument": m=instrument(engines[k%5]); m.close()
    elif how=="all": pool_exporter.instrument_all().close()
    elif how=="referrers": [r for r in gc.get_referrers(engines[k%5].pool) if type(r).__name__=="_ConnectionRecord"]
    k+=1; time.sleep(.01)
stop=True; [t.join() for t in ts]; print(how, k, "times; the application's tuple(...) worked", n, "times, failed", err)
