"""How often Python looks for cyclic garbage in a process of ours.

Matching makes many small objects that live for one batch and hold no cycles: counting references frees them. Python's default looks
for cycles each time 700 more objects live than before, which took half of the time of matching (``make bench``). Cycles are rare
here (exceptions, closed connections), so looking 70 times less often costs little memory.
"""

from __future__ import annotations

import gc

_YOUNG, _MIDDLE, _OLD = 50_000, 20, 50


def collect_rarely() -> None:
    """Set the thresholds for this process, and leave alone what was made until now: modules, which stay."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
