"""Looking rarely for cyclic garbage still finds it."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc, weakref
from argosy.runtime import garbage

by_default, *_ = gc.get_threshold()
garbage.collect_rarely()

class Knot:
    pass

first = Knot()
first.itself = first
gone = weakref.ref(first)
del first
made = 0
while gone() is not None and made < 1_000_000:
    knot = Knot()
    knot.itself = knot
    made += 1
print(by_default, made)
"""


def test_cycles_are_found_once_enough_of_them_have_come_together() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    by_default, made = map(int, done.stdout.split())
    assert by_default < made < 1_000_000
