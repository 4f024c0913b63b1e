"""Cost of one checkout + checkin: bare, as it is (attributes on the pool object), and with real methods on the class."""
from h import *
import timeit, statistics
from pool_exporter.acquire import _fail, owner_of_thread
def door(cls):
    orig_c, orig_r = cls.connect, cls._return_conn
    def connect(self):
        try: w = self._watch
        except AttributeError: return orig_c(self)
        state = w.state
        try: at = state.asked()
        except Exception as error: errors.report(error); return orig_c(self)
        try: proxied = orig_c(self)
        except BaseException as error: _fail(state, at, error); raise
        try:
            record = proxied._connection_record
            try: connection = record._pool_exporter
            except AttributeError: connection = w.found(record)
            state.granted(at, connection, record.fairy_ref, w.owner())
        except Exception as error: errors.report(error); state.forgotten(at)
        return proxied
    def _return_conn(self, record):
        try:
            try: connection = record._pool_exporter
            except AttributeError: pass
            else: connection.pool.returned(connection)
        except Exception as error: errors.report(error)
        orig_r(self, record)
    cls.connect, cls._return_conn = connect, _return_conn
class MyPool(QueuePool): pass
MyPool.connect = Pool.connect; MyPool._return_conn = Pool._return_conn
bare = QueuePool(conn); now = QueuePool(conn); instrument(now, name="now")
door(MyPool); p = MyPool(conn); m = instrument(p, name="door"); hooks = m._hooks()
from pool_exporter.acquire import disarm
disarm(p)
class W: pass
w = W(); w.state = m._state; w.found = hooks.found; w.owner = owner_of_thread; p._watch = w
def pair(q):
    def f():
        c = q.connect(); c.close()
    return f
fs = [pair(bare), pair(now), pair(p)]; [f() for f in fs]; T = [[],[],[]]
for _ in range(60):
    for f, t in zip(fs, T): t.append(min(timeit.repeat(f, number=500, repeat=3))/500*1e6)
print("us per pair, min / median: bare %.2f/%.2f  attributes %.2f/%.2f  class %.2f/%.2f" % tuple(x for t in T for x in (min(t), statistics.median(t))), show(m)["co"], errors.count)
