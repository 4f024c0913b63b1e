"""A user's event.listen() on another thread while instrument()/close() swaps the deques: his listener is lost."""
from h import *
from pool_exporter import listeners as L
e = engine(); event.listen(e, "connect", lambda d, r: None); mine=[]
real = L._SteadyDeque
def user(d, r): mine.append(1)
import sqlalchemy.event.attr as A
# the user's thread has loaded collection.listeners and is switched out before it appends
orig = A._ListenerCollection.append
def append(self, key, prop):
    if key.fn is user:
        old = self.listeners; t=threading.Thread(target=lambda: instrument(e)); t.start(); t.join()
        if key.append_to_list(self, old): pass
        return
    return orig(self, key, prop)
A._ListenerCollection.append = append
event.listen(e, "connect", user); A._ListenerCollection.append = orig
e.connect().close(); print("the user's connect listener ran", len(mine), "times for 1 connection")
