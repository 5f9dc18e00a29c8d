"""Cron: fields of every form, in zones whose clocks change, looking both ways from around the changes."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.golden.files import Question

_ZONES = ["", "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Europe/London"]
# Around clock changes in Berlin, New York and Lord Howe, leap days, and ends of months and years.
_MOMENTS = [
    1711846799, 1711846800, 1711850400, 1729987200, 1729990800, 1729994400, 1710053999, 1710054000, 1730610000,
    1730613599, 1712415600, 1728142200, 1709164799, 1709251200, 1735689599, 1735689600, 1582934400, 1700000000, 1767225599,
]  # fmt: skip
_MINUTES = ["*", "0", "30", "*/15", "5-10", "0,30", "59", "7/20", "?"]
_HOURS = ["*", "0", "2", "1-3", "*/6", "23", "0,12", "?"]
_DAYS = ["*", "1", "15", "31", "29", "*/10", "1-7", "?", "30"]
_MONTHS = ["*", "1", "2", "FEB", "jan-mar", "*/3", "10", "3,10", "Dec"]
_WEEKDAYS = ["*", "0", "6", "MON", "mon-fri", "sun", "1-5", "*/2", "?", "SAT,SUN"]
_WRONG = [
    "", "* * * *", "* * * * * *", "@daily", "@every 1h", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *",
    "* * * 13 *", "* * * * 7", "* * * 0 *", "a * * * *", "*/0 * * * *", "5-1 * * * *", "1-2-3 * * * *", "1/2/3 * * * *",
    "-1 * * * *", "* * * FEBR *", "* * L * *", "* * * * 5L", "* * 15W * *", "* * * * 1#2", ", * * * *", "1,,2 * * * *",
    "*/ * * * *", "/2 * * * *", "1- * * * *", "TZ=UTC * * * * *", "CRON_TZ=Asia/Tokyo 0 9 * * *", "TZ=Nowhere * * * * *",
    "*-5 * * * *", "?/5 * * * *", "  0  0  *  *  *  ", "0\t0\t*\t*\t*", "+5 * * * *", "0x5 * * * *", "1.5 * * * *",
]  # fmt: skip


def questions(random: random.Random) -> Iterator[Question]:
    """Schedules as people write them, and what is none."""
    for spec in _WRONG:
        yield {"spec": spec, "zone": "UTC", "way": "next", "at": 1700000000}
    for _ in range(500):
        spec = " ".join(random.choice(field) for field in (_MINUTES, _HOURS, _DAYS, _MONTHS, _WEEKDAYS))
        at = random.choice(_MOMENTS) + random.choice([0, 0, 1, -1, 1800, -1800])
        yield {"spec": spec, "zone": random.choice(_ZONES), "way": random.choice(["next", "previous"]), "at": at}
