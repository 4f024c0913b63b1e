"""A service's tests with freezegun."""
from h import *
from freezegun import freeze_time
e = engine(); m = instrument(e); e.connect().close()
for d in ("2012-01-14", "1970-01-02", "2040-01-01"):
    with freeze_time(d):
        try:
            c = e.connect(); e.connect().close(); s = m.snapshot(); print(d, "oldest", s.oldest_use_seconds, "used_s", s.used_seconds, "create sum", s.create_time.sum, end=" ")
        except Exception as x: print(d, repr(x), end=" ")
    c.close()
    try: s = m.snapshot(); print("| after:", s.used_seconds, s.create_time.sum, "hook_errors", errors.count)
    except Exception as x: print("| after", repr(x))
with freeze_time("2012-01-14"):
    e2 = engine(); m2 = instrument(e2)
c = e2.connect()
try: s=m2.snapshot(); print("made while frozen:", s.used_seconds, s.oldest_use_seconds)
except Exception as x: print("made while frozen:", repr(x))
