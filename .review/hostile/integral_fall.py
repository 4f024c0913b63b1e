"""Deterministic: a thread switch right after the clock call of a transition (a CALL ends with the eval breaker)."""
import sys
from pool_exporter.state import PoolState
from pool_exporter.snapshot import decode, PoolIdentity, PoolConfig
from pool_exporter import layout as L
class Clock:
    now = 1; hook = None
    def __call__(self):
        v = self.now
        if self.hook: h, self.hook = self.hook, None; h()      # what other threads do while this one is switched out
        return v
clock = Clock(); S = 10**9
def read(st): return decode(st.read(), clock.now, PoolIdentity("x"), PoolConfig())
st = PoolState(clock, 5); c = st.opened(1)
a = st.asked(); st.granted(a, c, None, None)
clock.now += 10*S
seen = []
def other(): clock.now += 60*S; seen.append(read(st).used_seconds)   # e.g. SIGSTOP of 60 s, the sidecar reads
clock.hook = other; st.returned(c); seen.append(read(st).used_seconds)
print("A used_seconds before/after the return resumes:", seen, "FALLS" if seen[1] < seen[0] else "ok")
st = PoolState(clock, 5); c = st.opened(1); a = st.asked(); clock.now += S; seen = []
def other(): clock.now += 60*S; seen.append(read(st).pending_seconds)
clock.hook = other; st.granted(a, c, None, None); seen.append(read(st).pending_seconds)
print("B pending_seconds:", seen, "FALLS" if seen[1] < seen[0] else "ok")
# C: saturated goes negative: limit 2, T1 returns, is switched out; T2 returns, T3 takes again (saturated anew)
clock = Clock(); st = PoolState(clock, 2); c1, c2 = st.opened(1), st.opened(1)
for c in (c1, c2): st.granted(st.asked(), c, None, None)
def other():
    clock.now += 5*S; st.returned(c2); clock.now += 5*S; c3 = st.opened(1); st.granted(st.asked(), c3, None, None); globals().update(c3=c3)
clock.now += S; clock.hook = other; st.returned(c1)
try: print("C saturated:", read(st).saturated_seconds, "(true: at least 6)", st.words[L.SATURATED])
except ValueError as e: print("C", e)
st.returned(c3); clock.now += S
try: print("C at rest:", read(st).saturated_seconds)
except ValueError as e: print("C at rest, for ever:", e)
# D: forgotten() is a call between the sum and the row: a reader in between has both; the next has one
clock = Clock(); st = PoolState(clock, 5); a = st.asked(); clock.now += 30*S; seen = []
orig = st.forgotten
def forgotten(ask): seen.append(read(st).pending_seconds); orig(ask)     # RESUME of forgotten() is an eval-breaker check
st.forgotten = forgotten
st.failed(a, "timeout"); seen.append(read(st).pending_seconds)
print("D pending_seconds around a 30 s timeout:", seen, "FALLS" if seen[1] < seen[0] else "ok")
