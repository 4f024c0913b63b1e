"""Random asyncio operations with cancellation, drops, detach, invalidate, dispose; compare with the pool at rest."""
from h import *
import asyncio, random
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy import text
logging.disable(logging.CRITICAL); warnings.simplefilter("ignore")
async def main(seed):
    random.seed(seed)
    e = create_async_engine("sqlite+aiosqlite://", poolclass=sqlalchemy.pool.AsyncAdaptedQueuePool, pool_size=2, max_overflow=1, pool_timeout=random.choice([.002, 1]), pool_pre_ping=random.random()<.5, pool_recycle=random.choice([-1,0,1]))
    m = instrument(e, name=f"f{seed}"); held=[]
    async def op():
        c = await e.connect()
        try:
            r=random.random()
            if r<.4: await c.execute(text("select 1"))
            elif r<.5: await c.invalidate()
            elif r<.6:
                raw = await c.get_raw_connection(); raw.detach()
            elif r<.65: await asyncio.sleep(.003)
            elif r<.7: del c; return
        finally:
            if "c" in dir(): 
                try: await c.close()
                except Exception: pass
    for _ in range(40):
        ts=[asyncio.create_task(op()) for _ in range(random.randint(1,6))]
        await asyncio.sleep(random.choice([0,0,.001,.003]))
        for t in ts:
            if random.random()<.3: t.cancel()
        await asyncio.gather(*ts, return_exceptions=True)
        if random.random()<.1: await e.dispose(close=random.random()<.7)
        del ts
    gc.collect(); await asyncio.sleep(.02); gc.collect()
    for _ in range(2): 
        try: s=show(m)
        except ValueError as x: print("seed", seed, x); break
    else:
        p=e.pool; bad=[]
        if s["pending"] or m._state.pending: bad.append("pending")
        live=[c for c in m._state.live()]
        ours=sum(c.state==1 for c in live)
        if ours!=p.checkedout() : bad.append(f"used {ours} pool {p.checkedout()}")
        if s["used"]!=m._state.used: bad.append("self.used")
        if s["conn"]!=sum(s["closes"].values())+s["used"]+s["idle"]+s["detached"]: bad.append("sum")
        if s["detached"]: bad.append("detached")
        if errors.count: bad.append("hook_errors"); errors.count=0
        if bad: print("seed", seed, bad, s, p.status())
    await e.dispose()
n=int(sys.argv[1])
for i in range(n): asyncio.run(main(i))
print("done")
