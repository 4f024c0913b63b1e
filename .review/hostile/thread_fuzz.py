from h import *
import random
logging.disable(logging.CRITICAL); warnings.simplefilter("ignore")
sys.setswitchinterval(1e-6)
def run(seed, kinds, gc_on):
    rnd=random.Random(seed); errors.count=0
    gc.set_threshold(50 if gc_on else 700)
    e = engine(pool_size=2, max_overflow=2, pool_timeout=rnd.choice([.002,1]), pool_pre_ping=rnd.random()<.5, pool_recycle=rnd.choice([-1,0,1]))
    m = instrument(e, name=f"t{seed}"); stop=False; app={}; snap={}
    def w(i):
        r=random.Random(seed*100+i)
        while not stop:
            try:
                c=e.raw_connection(); k=r.choice(kinds)
                if k=="close": c.close()
                elif k=="inval": c.invalidate()
                elif k=="soft": c.invalidate(soft=True); c.close()
                elif k=="detach": c.detach(); c.close()
                elif k=="detachdrop": c.detach()
                elif k=="drop": pass
                elif k=="cycle": x=[c]; x.append(x); del x
                del c
            except Exception as x: app[type(x).__name__+str(x)[:40]]=app.get(type(x).__name__+str(x)[:40],0)+1
    ts=[threading.Thread(target=w,args=(i,)) for i in range(5)]; [t.start() for t in ts]; end=time.time()+3
    while time.time()<end:
        try: m.snapshot()
        except Exception as x: snap[str(x)[:60]]=snap.get(str(x)[:60],0)+1
        time.sleep(.002)
    stop=True; [t.join() for t in ts]; gc.collect(); gc.collect()
    st=m._state
    try: s=show(m); show(m); s=show(m)
    except Exception as x: print(seed, kinds, "FINAL", x, "app", app); return
    bad=[]
    if s["used"] or st.used or s["pending"] or st.pending or s["detached"]: bad.append("level")
    if s["conn"]!=sum(s["closes"].values())+s["used"]+s["idle"]+s["detached"]: bad.append("sum")
    if e.pool.checkedout(): bad.append(f"pool out {e.pool.checkedout()}")
    if len(st._use_rows)!=len(set(st._use_rows)): bad.append("dup rows")
    live=sum(r.dbapi_connection is not None for r in e.pool._pool.queue)
    if live!=s["idle"]: bad.append(f"idle {s['idle']} live {live}")
    if s["drift"] or s["hook_errors"]: bad.append("drift/hook")
    if bad or snap: print(seed, bad, "snap", dict(list(snap.items())[:2]), s, st.used, st.pending, "app", dict(list(app.items())[:3]))
for seed,(k,g) in enumerate([(["close","inval"],0),(["close","soft"],0),(["close","detach"],0),(["close","detachdrop","detach"],0),(["drop","close"],0),(["cycle","close"],1),(["close","inval","soft","detach","detachdrop","drop","cycle"],1)]): run(seed,k,g)
print("done")
