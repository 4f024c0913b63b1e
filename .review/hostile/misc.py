from h import *
logging.disable(logging.CRITICAL); import weakref
# a) pool recreated without its engine, first connection untimed, then detached while open
p = QueuePool(conn); m = instrument(p); q = p.recreate(); c = q.connect(); c.detach(); s=show(m)
print("a) untimed + detach, still open: detached", s["detached"], "closes", s["closes"], end=" "); c.close(); print("| after close", show(m)["closes"])
# a2) two independent pools, one monitor
p = QueuePool(conn, pool_size=1, max_overflow=0); m = instrument(p, name="p"); q = p.recreate(); m2 = instrument(q, name="q"); c1, c2 = p.connect(), q.connect()
print("a2) p and its recreate() both in use: same monitor", m is m2, "used", m.snapshot().used, "max", m.snapshot().max, "drift", [show(m)["drift"] for _ in range(3)][-1])
# b) detach inside a checkout listener
e = engine(); 
@event.listens_for(e, "checkout")
def co(d, r, f): f.detach()
m = instrument(e); errors.count=0; c = e.raw_connection(); print("b) detach() in a checkout listener:", show(m))
# c) creator that times out on another pool
other = engine(pool_size=1, max_overflow=0, pool_timeout=.01); hold = other.connect()
e = engine(creator=lambda: other.raw_connection()); m = instrument(e)
try: e.connect()
except Exception as x: pass
print("c) opening failed (another pool timed out inside the creator): timeouts", m.snapshot().timeouts, dict(m.snapshot().acquire_failures))
# d) exception chain and garbage: bare vs watched
def bad(): raise sqlite3.OperationalError("no")
for w in (0,1):
    e = engine(creator=bad)
    if w: instrument(e)
    gc.collect(); gc.disable()
    for _ in range(20):
        try: e.raw_connection()
        except Exception as x: ch=[]; y=x
        except BaseException: pass
        ch=[]
        while y is not None: ch.append((type(y).__name__, y.__suppress_context__)); y=y.__cause__ or y.__context__
        try: del x
        except NameError: pass
    n=gc.collect(); gc.enable(); print("d) watched" if w else "d) bare", "garbage after 20 failures", n, "chain", ch, end=" ")
for w in (0,1):
    e = engine(pool_size=1,max_overflow=0,pool_timeout=.001); 
    if w: instrument(e)
    c=e.raw_connection(); gc.collect(); gc.disable()
    for _ in range(5):
        try: e.raw_connection()
        except Exception as x: r=(type(x).__name__, x.__cause__, x.__context__, len(__import__("traceback").extract_tb(x.__traceback__)))
    n=gc.collect(); gc.enable(); print("timeout", "watched" if w else "bare", "garbage", n, r, end=" ")
print()
# e) freed by reference counting
for w in (0,1):
    e = engine(); 
    if w: instrument(e)
    e.connect().close(); r=[weakref.ref(e), weakref.ref(e.pool)]; e.dispose(); r.append(weakref.ref(e.pool)); gc.collect(); gc.disable(); del e; print("e) watched" if w else "e) bare", "alive after del:", [x() is not None for x in r], end=" "); gc.enable(); gc.collect(); print([x() is not None for x in r], end=" ")
print()
# f) a thread that Python did not start
import _thread
n0=len(threading._active); done=threading.Semaphore(0); e=engine(); 
def w(): 
    e.connect().close(); done.release()
for w_ in (0,1):
    if w_: instrument(e)
    n0=len(threading._active)
    for _ in range(5): _thread.start_new_thread(w,()); done.acquire(); time.sleep(.01)
    print("f) watched" if w_ else "f) bare", "threading._active grew by", len(threading._active)-n0, end=" ")
print()
# g) StaticPool: two out, first closed
e = engine(poolclass=StaticPool); m=instrument(e); a=e.raw_connection(); b=e.raw_connection(); a.close(); print("g) StaticPool, 2 out, a closed:", show(m)["used"], end=" "); b.close(); print("b closed too:", show(m)["used"])
e = engine(poolclass=StaticPool); m=instrument(e); a=e.raw_connection(); b=e.raw_connection(); b.close(); print("   2 out, the later one closed:", show(m)["used"], end=" "); a.close(); print("both closed:", show(m)["used"])
# h) gc.freeze before instrument, warm pool
e = engine(); c=e.connect(); gc.freeze(); m=instrument(e); print("h) gc.freeze(), then instrument with 1 out:", show(m)["used"], "pool:", e.pool.checkedout()); gc.unfreeze()
# i) option engine's dispose
e = engine(); m=instrument(e); o=e.execution_options(x=1); o.connect().close(); o.dispose(); o.connect().close(); print("i) option engine:", show(m), "connect" in e.pool.__dict__)
# j) time of instrument() on a non-queue pool, in a process with 1.5 M objects
junk=[[i] for i in range(1500000)]; e=engine(poolclass=NullPool); t=time.perf_counter(); instrument(e); t1=time.perf_counter(); e.dispose(); t2=time.perf_counter()
print(f"j) NullPool, 1.5 M objects: instrument {t1-t:.3f} s, each dispose {t2-t1:.3f} s", end=" "); t=time.perf_counter(); gc.get_referrers(e.pool); print(f"(gc.get_referrers(pool): {time.perf_counter()-t:.3f})"); del junk
