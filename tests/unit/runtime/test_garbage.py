"""Looking rarely for cyclic garbage still finds it."""

from __future__ import annotations

import gc
import subprocess
import sys

PROGRAM = """
import gc, weakref
from argosy.runtime import garbage

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
print(made)
"""


def test_cycles_are_found_once_enough_of_them_have_come_together() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    young, *_ = gc.get_threshold()
    assert young < int(done.stdout) < 1_000_000
