"""``kubectl argosy``: the same commands as a plug-in of kubectl, which finds the program ``kubectl-argosy`` on the PATH.

It asks a cluster unless it is led elsewhere, and takes kubectl's words for namespace and context before the command, too, as kubectl does.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from argosy.cli._client import KUBECTL
from argosy.cli.main import main as argosy

_GROUPS = (["events"], ["actions"], ["sensor"])
_VALUED = ("-n", "--namespace", "--context")
_BARE = ("-A", "--all-namespaces")


def main() -> None:
    """The program ``kubectl-argosy``."""
    argosy(args=reordered(sys.argv[1:]), prog_name=KUBECTL)


def reordered(words: Sequence[str]) -> list[str]:
    """The words with kubectl's flags behind the command, where its options stand; one that has no such option refuses them."""
    left, command, moved = list(words), list[str](), list[str]()
    while left:
        word = left[0]
        if word in _VALUED:
            moved += left[:2]
            del left[:2]
        elif word in _BARE or word.startswith(("--namespace=", "--context=", "-n")):
            moved.append(left.pop(0))
        elif not word.startswith("-") and (not command or command in _GROUPS):
            command.append(left.pop(0))
        else:
            break
    end = left.index("--") if "--" in left else len(left)
    return [*command, *left[:end], *moved, *left[end:]]


if __name__ == "__main__":
    main()
