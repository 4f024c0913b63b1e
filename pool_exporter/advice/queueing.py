"""How long callers wait for a connection, by queueing theory: a pool is a queue with as many servers as connections.

The formulas are Erlang's for Poisson arrivals and exponential times (A. K. Erlang, 1917), corrected for other times by
the factor of Allen and Cunneen (A. O. Allen, Probability, Statistics and Queueing Theory, section 5.2.2). The factor
makes a wait too long rather than too short where use times have a heavy tail, so a size computed with it is on the safe
side. Nothing here may know a pool, a metric or a clock.

Symbols: c is the number of connections. S is the mean use in seconds. a is the offered load in Erlangs: arrivals a
second times S. C2 is the squared coefficient of variation of the use times, 0 for constant and 1 for exponential ones.
"""

import math
from dataclasses import dataclass


def erlang_b(load: float, connections: int) -> float:
    """Return the probability that all connections are used if callers that find none go away: Erlang's formula B.

    The recursion B(0) = 1, B(k) = a B(k-1) / (k + a B(k-1)) needs no factorial and does not overflow.

    Args:
        load: The offered load in Erlangs, at least 0.
        connections: The number of connections, at least 0.
    """
    blocked = 1.0
    for number in range(1, connections + 1):
        blocked = load * blocked / (number + load * blocked)
    return blocked


def erlang_c(load: float, connections: int) -> float:
    """Return the probability that a caller has to wait: Erlang's formula C, B / (1 - u (1 - B)) with u = a / c.

    Args:
        load: The offered load in Erlangs, at least 0.
        connections: The number of connections; 1 is returned if the load is not less than it.
    """
    if load >= connections:
        return 1.0
    blocked = erlang_b(load, connections)
    return blocked / (1 - load / connections * (1 - blocked))


@dataclass(frozen=True, slots=True)
class Queue:
    """One pool as a queue. Its numbers are those of a long time with an unchanged load.

    Attributes:
        load: The offered load in Erlangs.
        connections: The number of connections.
        mean_use_seconds: The mean time from a checkout to its return.
        variability: The squared coefficient of variation of these times.
    """

    load: float
    connections: int
    mean_use_seconds: float
    variability: float = 1.0

    @property
    def utilisation(self) -> float:
        """The part of the connections that is used on average: a / c. 1 or more means that the queue grows for ever."""
        return self.load / self.connections if self.connections else math.inf

    @property
    def waiting_probability(self) -> float:
        """The part of the callers that has to wait."""
        return erlang_c(self.load, self.connections)

    @property
    def mean_wait_seconds(self) -> float:
        """The mean wait of all callers, those that do not wait included: P S / (c - a) (1 + C2) / 2."""
        return self.waiting_probability * self._mean_of_waiting

    def wait_quantile_seconds(self, quantile: float) -> float:
        """Return the wait that this part of the callers does not exceed: S / (c - a) ln(P / (1 - q)) (1 + C2) / 2.

        Args:
            quantile: Between 0 and 1, such as 0.99.

        Returns:
            Seconds; 0 if at least this part does not wait at all, infinite if the queue grows for ever.
        """
        waiting = self.waiting_probability
        if waiting <= 1 - quantile:
            return 0.0
        return self._mean_of_waiting * math.log(waiting / (1 - quantile))

    @property
    def _mean_of_waiting(self) -> float:
        """The mean wait of the callers that do wait."""
        if self.load >= self.connections:
            return math.inf
        return self.mean_use_seconds / (self.connections - self.load) * (1 + self.variability) / 2
