"""sprig's semantic versions: parsing, and constraints such as ``^1.2 || ~2.3, != 2.3.5`` (Masterminds/semver
3.3)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from argosy.errors import LangError
from argosy.lang._gotemplate_functions import Registry, registrar

FUNCTIONS: Registry = {}
sprig = registrar(FUNCTIONS)

_TAIL = r"(?:-([0-9A-Za-z\-]+(?:\.[0-9A-Za-z\-]+)*))?(?:\+([0-9A-Za-z\-]+(?:\.[0-9A-Za-z\-]+)*))?"
_VERSION = re.compile(r"v?([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?" + _TAIL)
_LOOSE = r"v?([0-9xX*|]+)(\.[0-9xX*|]+)?(\.[0-9xX*|]+)?" + _TAIL
_BARE = re.sub(r"\((?!\?)", "(?:", _LOOSE)
_SIGNS = r"=>|=<|!=|>=|<=|~>|=|>|<|~|\^|"
_CONSTRAINT = re.compile(rf"\s*({_SIGNS})\s*({_LOOSE})\s*")
_FIND = re.compile(rf"(?:{_SIGNS})\s*(?:{_BARE})")
_VALID = re.compile(rf"\s*(?:{_SIGNS})\s*(?:{_BARE})\s*(?:(?:\s+|,\s*)(?:{_SIGNS})\s*(?:{_BARE})\s*)*")
_RANGE = re.compile(rf"\s*({_BARE})\s+-\s+({_BARE})\s*")
_LONGEST = 1024


@dataclass(frozen=True)
class Version:
    """A parsed version. Printed in its full form, without the ``v``."""

    major: int
    minor: int
    patch: int
    pre: str = ""
    metadata: str = ""
    original: str = field(default="", compare=False)
    go_type = "*semver.Version"

    def __str__(self) -> str:
        text = f"{self.major}.{self.minor}.{self.patch}"
        text += f"-{self.pre}" if self.pre else ""
        return text + (f"+{self.metadata}" if self.metadata else "")

    @property
    def numbers(self) -> tuple[int, int, int]:
        """Major, minor, patch."""
        return self.major, self.minor, self.patch

    def compare(self, other: Version) -> int:
        """-1, 0 or 1; a version before its release is older than the release; metadata do not count."""
        if self.numbers != other.numbers:
            return -1 if self.numbers < other.numbers else 1
        if self.pre == other.pre:
            return 0
        if not self.pre or not other.pre:
            return 1 if not self.pre else -1
        return _compare_pre(self.pre, other.pre)


def _compare_pre(a: str, b: str) -> int:
    left, right = a.split("."), b.split(".")
    for position in range(max(len(left), len(right))):
        x = left[position] if position < len(left) else ""
        y = right[position] if position < len(right) else ""
        if x == y:
            continue
        if not x or not y:
            return -1 if not x else 1
        # A number is older than a name; numbers compare by value, names by their bytes.
        if x.isdigit() != y.isdigit():
            return -1 if x.isdigit() else 1
        if x.isdigit():
            return 1 if int(x) > int(y) else -1
        return 1 if x > y else -1
    return 0


def parse(text: str) -> Version:
    """``text`` as a version; minor and patch may be missing, a ``v`` may stand in front. Raises LangError."""
    match = _VERSION.fullmatch(text) if len(text) <= _LONGEST else None
    if not match or any(len(part) > 1 and part[0] == "0" and part.isdigit() for part in (match[4] or "").split(".")):
        raise LangError(f"{text!r} is not a semantic version")
    numbers = [int(number or 0) for number in match.group(1, 2, 3)]
    if max(numbers) >= 2**64:
        raise LangError(f"{text!r} has a number that is too large for a semantic version")
    return Version(numbers[0], numbers[1], numbers[2], match[4] or "", match[5] or "", text)


@dataclass(frozen=True)
class _Constraint:
    """One comparison; ``open_minor`` and ``open_patch`` say what the text leaves open (``1``, ``1.x``,
    ``1.2``)."""

    sign: str
    version: Version
    open: bool = False
    open_minor: bool = False
    open_patch: bool = False

    def allows(self, version: Version) -> bool:
        if version.pre and not self.version.pre and not (self.sign == "!=" and not self.open):
            return False
        return _TESTS[self.sign](self, version)


def _constraint(text: str) -> _Constraint:
    if not text:
        return _Constraint("", Version(0, 0, 0), open=True)
    match = _CONSTRAINT.fullmatch(text)
    if not match:
        raise LangError(f"{text!r} is not a constraint of versions")
    sign, whole, major, minor, patch, pre = match[1], match[2], match[3], match[4], match[5], match[6]
    tail = f"-{pre}" if pre else ""
    if major in ("x", "X", "*"):
        return _Constraint(sign, parse("0.0.0" + tail), open=True)
    if minor is None or minor[1:] in ("x", "X", "*"):
        return _Constraint(sign, parse(f"{major}.0.0{tail}"), open=True, open_minor=True)
    if patch is None or patch[1:] in ("x", "X", "*"):
        return _Constraint(sign, parse(f"{major}{minor}.0{tail}"), open=True, open_patch=True)
    return _Constraint(sign, parse(whole))


def _equal(c: _Constraint, v: Version) -> bool:
    return _tilde(c, v) if c.open else v.compare(c.version) == 0


def _not_equal(c: _Constraint, v: Version) -> bool:
    if not c.open:
        return v.compare(c.version) != 0
    if v.major != c.version.major:
        return True
    if v.minor != c.version.minor and not c.open_minor:
        return True
    if c.open_minor:
        return False
    if c.open_patch:
        return bool(v.pre or c.version.pre) and _compare_pre(v.pre, c.version.pre) != 0
    return v.compare(c.version) != 0


def _greater(c: _Constraint, v: Version) -> bool:
    if not c.open or v.major > c.version.major:
        return v.compare(c.version) == 1
    if v.major < c.version.major or c.open_minor:
        return False
    if c.open_patch:
        return v.minor > c.version.minor
    return v.compare(c.version) == 1


def _at_most(c: _Constraint, v: Version) -> bool:
    if not c.open:
        return v.compare(c.version) <= 0
    if v.major > c.version.major:
        return False
    return not (v.major == c.version.major and v.minor > c.version.minor and not c.open_minor)


def _tilde(c: _Constraint, v: Version) -> bool:
    if v.compare(c.version) < 0:
        return False
    if c.version.numbers == (0, 0, 0) and not c.open_minor and not c.open_patch:
        return True
    return v.major == c.version.major and (c.open_minor or v.minor == c.version.minor)


def _caret(c: _Constraint, v: Version) -> bool:
    if v.compare(c.version) < 0:
        return False
    if c.version.major > 0 or c.open_minor:
        return v.major == c.version.major
    if v.major > 0:
        return False
    if c.version.minor > 0 or c.open_patch:
        return v.minor == c.version.minor
    return v.minor == 0 and v.patch == c.version.patch


_TESTS: dict[str, Callable[[_Constraint, Version], bool]] = {
    "": _equal,
    "=": _equal,
    "!=": _not_equal,
    ">": _greater,
    "<": lambda c, v: v.compare(c.version) < 0,
    ">=": lambda c, v: v.compare(c.version) >= 0,
    "=>": lambda c, v: v.compare(c.version) >= 0,
    "<=": _at_most,
    "=<": _at_most,
    "~": _tilde,
    "~>": _tilde,
    "^": _caret,
}


@sprig("semver", takes="s")
def _semver(text: str) -> Version:
    return parse(text)


@sprig("semverCompare", takes="ss")
def _semver_compare(constraint: str, version: str) -> bool:
    if len(constraint) > _LONGEST:
        raise LangError("a constraint of versions is not that long")
    alternatives = []
    for part in _RANGE.sub(lambda match: f">= {match[1]}, <= {match[2]} ", constraint).split("||"):
        if not _VALID.fullmatch(part):
            raise LangError(f"{part!r} is not a constraint of versions")
        alternatives.append([_constraint(found) for found in _FIND.findall(part)])
    wanted = parse(version)
    return any(all(one.allows(wanted) for one in alternative) for alternative in alternatives)
