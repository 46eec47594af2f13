"""Common cron expressions in words."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from resqpy.base.cron.cron import CronSchedule
from resqpy.base.cron.words import cron_words


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("* * * * *", "every minute"),
        ("*/5 * * * *", "every 5 minutes"),
        ("*/7 * * * *", ""),  # not evenly: 56 is followed by 0
        ("0 * * * *", "every hour"),
        ("@hourly", "every hour"),
        ("15,45 * * * *", "every hour at :15 and :45"),
        ("0 */6 * * *", "every 6 hours"),
        ("30 */6 * * *", "every 6 hours at :30"),
        ("0 */5 * * *", ""),
        ("0 3 * * *", "every day at 03:00"),
        ("0 0 3 * * *", "every day at 03:00"),
        ("30 0 3 * * *", ""),
        ("0 3 * * * Europe/Berlin", "every day at 03:00"),
        ("@daily", "every day at 00:00"),
        ("0 9,12,15 * * *", "every day at 09:00, 12:00 and 15:00"),
        ("0 1,2,3,4,5 * * *", ""),
        ("0 9 * * mon-fri", "at 09:00, Monday to Friday"),
        ("0 9 * * 0", "at 09:00, on Sunday"),
        ("0 9 * * 7", "at 09:00, on Sunday"),
        ("0 9 * * mon,thu", "at 09:00, on Monday and Thursday"),
        ("0 9-17 * * 1-5", "every hour from 09:00 to 17:00, Monday to Friday"),
        ("*/15 9-17 * * *", "every 15 minutes from 09:00 to 17:45"),
        ("* 9-17 * * *", "every minute from 09:00 to 17:59"),
        ("0 0 1 * *", "at 00:00, on day 1 of each month"),
        ("0 0 1,15 * *", "at 00:00, on days 1 and 15 of each month"),
        ("@yearly", "at 00:00, on 1 January"),
        ("0 0 1 jan,jul *", "at 00:00, on 1 January and 1 July"),
        ("0 0 1 */3 *", ""),
        ("0 0 L * *", ""),
        ("0 0 1 * mon", ""),
        ("0 0 * * fri#1", ""),
        ("every 5 s", ""),
        ("", ""),
        ("?", ""),
    ],
)
def test_what_an_expression_means(expression: str, words: str) -> None:
    """The common ones; another one says nothing."""
    assert cron_words(expression) == words


def test_from_to_is_when_it_fires() -> None:
    """The first and the last time of a day."""
    fires = CronSchedule.parse("*/15 9-17 * * *", "UTC")
    at, seen = datetime(2026, 11, 30, tzinfo=UTC), []
    while (found := fires.next_after(at)) is not None and (at := found).day == 30:
        seen.append(f"{at:%H:%M}")
    assert (seen[0], seen[-1]) == ("09:00", "17:45")
