"""How many of each process a mesh has, and how the instances are called."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Instances of each kind. The stores of a mesh with several of them form clusters."""

    cassandra: int = 1
    nats: int = 1
    redis: int = 1
    """More than one: a cluster of three primaries, and the rest replicas of them."""
    services: int = 1
    """Of each service, each with a sidecar."""
    edges: int = 1
    """All listen on the one public port."""

    @property
    def data(self) -> str:
        """Where below the data directory the stores keep theirs: a cluster's node is no use alone."""
        return "replicated/" if self.cassandra > 1 else ""


SINGLE = Scale()
REPLICATED = Scale(cassandra=3, nats=3, redis=6, services=2, edges=2)
REDIS_PRIMARIES = 3


def instance(name: str, number: int) -> str:
    """The process's name: "tweet_svc", "tweet_svc-2"; numbers begin at 1."""
    return name if number == 1 else f"{name}-{number}"


def instances(name: str, count: int) -> tuple[str, ...]:
    """The names of `count` instances."""
    return tuple(instance(name, number) for number in range(1, count + 1))


def service_of(process: str) -> str:
    """Whose instance it is: "tweet_svc-2" belongs to "tweet_svc"."""
    name, _, number = process.rpartition("-")
    return name if name and number.isdigit() else process
