"""Somebody (a test, an APM) patches Pool.connect or _return_conn on the class after instrument()."""
from h import *
from unittest import mock
for w in (0,1):
    e = engine(); 
    if w: instrument(e)
    with mock.patch.object(Pool, "connect", side_effect=RuntimeError("database down")):
        try: e.connect(); r="NOT patched"
        except RuntimeError: r="patched"
    print("watched" if w else "bare", r, end=" | ")
print()
