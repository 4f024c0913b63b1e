"""fork while (1) this very thread is inside connect() (creator forks / a fork from a connect listener); (2) asyncio tasks wait for the pool (collected in the child)."""
from h import *
import os
def creator():
    global pid
    pid = os.fork() if pid is None else pid
    return conn()
pid = None
e = engine(creator=creator); m = instrument(e)
c = e.connect()
if pid == 0:
    try: r = "child 1: %s state.pending %s dup rows %s" % (show(m), m._state.pending, len(m._state._ask_rows)-len(set(m._state._ask_rows)))
    except Exception as x: r = "child 1: %r" % x
    c.close()
    try: r += " | after: %s" % show(m)
    except Exception as x: r += " | after: %r" % x
    print(r, flush=True); os._exit(0)
os.waitpid(pid, 0)
import asyncio
from sqlalchemy.ext.asyncio import create_async_engine
async def main():
    e = create_async_engine("sqlite+aiosqlite://", poolclass=sqlalchemy.pool.AsyncAdaptedQueuePool, pool_size=1, max_overflow=0)
    m = instrument(e, name="async"); c = await e.connect()
    async def waiter():
        async with e.connect(): pass
    t = asyncio.create_task(waiter()); await asyncio.sleep(.05)
    print("parent:", show(m)["pending"], "pending", flush=True)
    if os.fork() == 0:
        logging.disable(logging.CRITICAL); sys.stderr = open(os.devnull, "w")
        t.cancel()
        try: await t
        except BaseException: pass
        try: r = "%s state.pending %s dup rows %s" % (show(m), m._state.pending, len(m._state._ask_rows)-len(set(m._state._ask_rows)))
        except Exception as x: r = repr(x)
        print("child 2, the waiting task is cancelled there:", r, flush=True); os._exit(0)
    os.wait(); t.cancel(); await asyncio.sleep(0); await c.close(); await e.dispose()
asyncio.run(main())
