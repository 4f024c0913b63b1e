from h import *
import tracemalloc
from sqlalchemy.event import registry
def go(n):
    for i in range(n):
        e=engine(); m=instrument(e); c=e.connect(); c.close(); e.dispose(); e.connect().close()
        if i%2: m.close()
go(50); gc.collect(); a=len(gc.get_objects()); r=len(registry._key_to_collection), len(registry._collection_to_key)
go(500); gc.collect(); print("objects", len(gc.get_objects())-a, "registry", r, (len(registry._key_to_collection), len(registry._collection_to_key)), "watched", len(pm._registry.all()), "threads", threading.active_count())
