import sqlite3, sys, threading, time, gc, warnings, logging
from sqlalchemy import create_engine, event, pool as sp, exc
from sqlalchemy.pool import QueuePool, NullPool, StaticPool, SingletonThreadPool, AssertionPool, Pool
import sqlalchemy, pool_exporter
from pool_exporter import instrument, monitor as pm
from pool_exporter.guard import errors
def conn(): return sqlite3.connect(":memory:", check_same_thread=False)
def engine(creator=conn, poolclass=QueuePool, **kw):
    return create_engine("sqlite://", creator=creator, poolclass=poolclass, **kw)
def show(m, *names):
    s = m.snapshot()
    return dict(used=s.used, idle=s.idle, pending=s.pending, detached=s.detached, co=s.checkouts, conn=s.connects, closes={k:v for k,v in s.closes.items() if v}, drift=s.accounting_drift, leaked=s.leaked, hook_errors=errors.count)
print(f"[{sys.version.split()[0]} SA {sqlalchemy.__version__}]", end=" ")
