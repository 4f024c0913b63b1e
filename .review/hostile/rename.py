from h import *
a, b = engine(), engine()
instrument(a, name="orders")
print([instrument(b, name="orders").identity.name for _ in range(5)])
