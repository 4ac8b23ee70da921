"""Small frozen values that say how an asset is to be run and watched."""

import re
from dataclasses import dataclass, field

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")

Duration = str | float | int


def parse_duration_s(value: Duration) -> float:
    """Seconds from a number of seconds or a text such as `90s`, `1.5h`, `250ms`, `2d`.

    Raises:
        ValueError: The text is not a duration, or it is negative.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value >= 0:
            return float(value)
    elif isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        return float(match[1]) * _UNITS_S[match[2]]
    raise ValueError(
        f"{value!r} is not a duration; write seconds as a number, or a text such as '30s', '5m', '2h'"
    )


@dataclass(frozen=True)
class Retry:
    """Try a failed step again.

    Waiting times grow exponentially from `delay` by `factor` up to `max_delay`, each multiplied by a random
    share between `1 - jitter` and 1.

    Attributes:
        max_attempts: Tries in all, at least 1.
        delay: Before the second try.
        factor: Growth from one waiting time to the next, at least 1.
        max_delay: Upper bound of a waiting time.
        jitter: Share of a waiting time that chance may take away, 0 to 1.
    """

    max_attempts: int = 3
    delay: Duration = "1s"
    factor: float = 2.0
    max_delay: Duration = "5m"
    jitter: float = 0.5
    delay_s: float = field(init=False, repr=False, compare=False)
    max_delay_s: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.max_attempts < 1 or self.factor < 1 or not 0 <= self.jitter <= 1:
            raise ValueError(f"{self!r}: max_attempts and factor are at least 1, jitter lies between 0 and 1")
        object.__setattr__(self, "delay_s", parse_duration_s(self.delay))
        object.__setattr__(self, "max_delay_s", parse_duration_s(self.max_delay))


NO_RETRY = Retry(max_attempts=1)


@dataclass(frozen=True)
class Freshness:
    """How old the newest data of an asset may be.

    Attributes:
        within: The longest time between the end of the newest published partition's window (the publication
            itself for an asset without windows) and now.
    """

    within: Duration
    within_s: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "within_s", parse_duration_s(self.within))
