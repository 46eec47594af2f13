"""A task that fails at first, and is tried again by itself."""

from __future__ import annotations

from collections import Counter

from resqpy import task

_calls: Counter[str] = Counter()  # this example's unreliable service


@task(
    queue="default",
    retry={"retry_limit": 5, "retry_delay": 1000},  # five attempts, a second between them
    time_limit=10_000,  # a run that takes longer fails
)
async def fetch_weather(city: str) -> str:
    """Ask a service that doesn't always answer."""
    _calls[city] += 1
    if _calls[city] < 3:
        print(f"  ☁  weather of {city}: no answer, try {_calls[city]}")
        raise ConnectionError(f"the weather service did not answer for {city}")
    print(f"  ☀  weather of {city}: sunny, at try {_calls[city]}")
    return "sunny"
