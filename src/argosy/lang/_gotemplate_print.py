"""Values as Go's ``fmt`` prints them: ``%v`` of what JSON holds, and ``Printf`` with its verbs and
complaints.

The Go type behind a value follows from the Python one: float is float64, int is int, ``Int64`` int64, None a
nil interface, list ``[]interface {}``, dict ``map[string]interface {}``. Maps print with their keys sorted.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from argosy.errors import LangError
from argosy.lang import _gotemplate_time as gotime
from argosy.lang import gojson
from argosy.lang._gofloat import binary, hexadecimal, sharp
from argosy.lang._gotemplate_bound import Made, joined

_WIDEST = 10_000
_ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
}
_DIRECTIVE = re.compile(
    r"%(?P<flags>[-+# 0]*)(?P<index>\[\d+\])?(?P<width>\*|\d+)?"
    r"(?:(?P<point>\.)(?P<index2>\[\d+\])?(?P<precision>\*|\d+)?)?(?P<index3>\[\d+\])?(?P<verb>.)?",
    re.DOTALL,
)


class Int64(int):
    """A Go int64, which is not assignable to an int parameter."""


class Uint64(int):
    """A Go uint64."""

    go_type = "uint64"


class Named(int):
    """A Go integer type with names for its values; ``str`` gives the name."""

    go_type = ""
    go_kind = "int"


class Missing:
    """The absent value: a map key that is not there, a nil that went through a pipeline. There is one,
    ``MISSING``."""

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "<no value>"


MISSING = Missing()


def type_name(value: Any) -> str:
    """The Go type, as ``%T`` prints it."""
    if value is None or value is MISSING:
        return "<nil>"
    name: str | None = getattr(value, "go_type", None)
    if name is None:
        name = next((name for kind, name in _TYPES if isinstance(value, kind)), type(value).__name__)
    return name


_TYPES: tuple[tuple[type, str], ...] = (
    (bool, "bool"),
    (Int64, "int64"),
    (int, "int"),
    (float, "float64"),
    (str, "string"),
    (list, "[]interface {}"),
    (dict, "map[string]interface {}"),
    (dt.datetime, "time.Time"),
)


def sprint(values: Sequence[Any]) -> str:
    """``fmt.Sprint``: blanks only between operands of which neither is a string."""

    def pieces() -> Iterator[str]:
        for index, value in enumerate(values):
            if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
                yield " "
            yield show(value)

    return joined(pieces())


def sprintln(values: Sequence[Any]) -> str:
    """``fmt.Sprintln``: blanks between all operands, and a line feed."""
    return joined(map(show, values), " ") + "\n"


def show(value: Any) -> str:
    """``%v``."""
    if type(value) is str:
        return value
    return _Verb("v", "", None, None).format(value)


def sprintf(template: str, values: Sequence[Any]) -> str:
    """``fmt.Sprintf``. Mistakes in the format show in the text, as in Go; nothing is raised but for absurd
    widths."""
    return _Printer(values).run(template)


def quote(text: str, *, ascii_only: bool = False) -> str:
    """``strconv.Quote``: a Go string literal."""
    return '"' + _escaped(text, '"', ascii_only) + '"'


def _escaped(text: str, mark: str, ascii_only: bool) -> str:
    out = []
    for char in text:
        if char == mark:
            out.append("\\" + mark)
        elif char in _ESCAPES:
            out.append(_ESCAPES[char])
        elif char.isprintable() and (char < "\x7f" or not ascii_only):
            out.append(char)
        elif char < "\x80" or "\udc80" <= char <= "\udcff":
            out.append(f"\\x{ord(char) % 256:02x}")  # a byte that is no UTF-8 travels as a half surrogate
        else:
            out.append(f"\\u{ord(char):04x}" if char <= "\uffff" else f"\\U{ord(char):08x}")
    return "".join(out)


class _Printer:
    """One call of Sprintf: walks the format and hands out the operands."""

    def __init__(self, values: Sequence[Any]) -> None:
        self._values = values
        self._next = 0
        self._reordered = False
        self._made = Made()

    def run(self, template: str) -> str:
        text = _DIRECTIVE.sub(lambda match: self._made(self._directive(match)), template)
        if not self._reordered and self._next < len(self._values):
            extra = ", ".join(
                "<nil>" if value is None or value is MISSING else f"{type_name(value)}={self._made(show(value))}"
                for value in self._values[self._next :]
            )
            text += f"%!(EXTRA {extra})"
        return text

    def _directive(self, match: re.Match[str]) -> str:
        verb = match["verb"]
        if verb is None:
            return "%!(NOVERB)"
        flags = match["flags"]
        good = self._go_to(match["index"])
        width = self._number(match["width"])
        if isinstance(width, int) and width < 0:
            flags, width = flags + "-", -width
        good = self._go_to(match["index2"]) and good
        precision = self._number(match["precision"]) if match["precision"] else (0 if match["point"] else None)
        if isinstance(precision, int) and precision < 0:
            precision = "bad"
        good = self._go_to(match["index3"]) and good
        complaint = ""
        if width == "bad":
            complaint, width = "%!(BADWIDTH)", None
        if precision == "bad":
            complaint, precision = complaint + "%!(BADPREC)", None
        if verb == "%":
            return complaint + "%"
        if not good:
            return complaint + f"%!{verb}(BADINDEX)"
        if self._next >= len(self._values):
            return complaint + f"%!{verb}(MISSING)"
        value = self._values[self._next]
        self._next += 1
        if verb == "v" and "#" in flags:
            return complaint + _Verb("v", "", width, precision).padded(_go_syntax(value, Made()))
        return complaint + _Verb(verb, flags, width, precision).format(value)

    def _go_to(self, index: str | None) -> bool:
        if index is None:
            return True
        self._reordered = True
        number = int(index[1:-1])
        if not 1 <= number <= len(self._values):
            return False
        self._next = number - 1
        return True

    def _number(self, text: str | None) -> Any:
        if text is None:
            return None
        if text != "*":
            number = int(text)
        else:
            value = self._values[self._next] if self._next < len(self._values) else None
            self._next += 1
            if value is None or type(value) not in (int, Int64) or abs(value) > _WIDEST:
                return "bad"
            number = int(value)
        if number > _WIDEST:
            raise LangError(f"printf: a width or precision of {number} is too large")
        return number


def _go_syntax(value: Any, made: Made) -> str:
    """``%#v``: the value as Go source."""
    if isinstance(value, Uint64):
        return hex(value)
    if isinstance(value, Named):
        return str(int(value))
    if value is None or value is MISSING:
        return "<nil>"
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, float):
        return gojson.format_float(value)
    if isinstance(value, dt.datetime):
        return _go_date(value)
    if isinstance(value, list):
        if getattr(value, "nil", False):
            return type_name(value) + "(nil)"
        return type_name(value) + "{" + ", ".join(_go_member(item, made) for item in value) + "}"
    if isinstance(value, dict):
        pairs = (f"{quote(key)}:{_go_member(value[key], made)}" for key in sorted(value))
        return type_name(value) + "{" + ", ".join(pairs) + "}"
    return show(value)


def _go_date(value: dt.datetime) -> str:
    zone = value.tzinfo
    place = "time.UTC" if value.utcoffset() == dt.timedelta() else f"time.Location({quote(str(zone))})"
    clock = f"{value.hour}, {value.minute}, {value.second}, {value.microsecond * 1000}"
    return f"time.Date({value.year}, time.{value.strftime('%B')}, {value.day}, {clock}, {place})"


def _go_member(value: Any, made: Made) -> str:
    return made("interface {}(nil)" if value is None else _go_syntax(value, made))


class _Verb:
    """One directive applied to one value, and to the members of that value."""

    def __init__(self, verb: str, flags: str, width: int | None, precision: int | None) -> None:
        self.verb = verb
        # A plus in front of v asks for the names of fields, of which JSON has none; numbers stay without sign.
        self.flags = flags.replace("+", "") if verb == "v" else flags
        self.width = width
        self.precision = precision
        self._made = Made()

    def format(self, value: Any) -> str:
        if self.verb == "T":
            return self.padded(type_name(value))
        if value is None or value is MISSING:
            return self.padded("<nil>") if self.verb == "v" else f"%!{self.verb}(<nil>)"
        if isinstance(value, list):
            return "[" + " ".join(self._member(item) for item in value) + "]"
        if isinstance(value, dict):
            pairs = (f"{self.format(key)}:{self._member(value[key])}" for key in sorted(value))
            return "map[" + " ".join(pairs) + "]"
        if isinstance(value, dt.datetime):
            value = gotime.format(value, "2006-01-02 15:04:05.999999999 -0700 MST")
        formatters: dict[type, Callable[[Any], str | None]] = {
            bool: self._bool,
            int: self._int,
            Int64: self._int,
            Uint64: self._int,
            float: self._float,
            str: self._str,
        }
        formatter = formatters.get(type(value))
        if isinstance(value, Named):
            formatter = self._named
        text = formatter(value) if formatter else self._str(str(value))
        if text is not None:
            return text
        complaint = _Verb("v", "", self.width, self.precision)
        complaint.flags = self.flags  # the plus of another verb stays a sign
        return f"%!{self.verb}({type_name(value)}={complaint.format(value)})"

    def _member(self, value: Any) -> str:
        """A member of a list or map; nil shows as such whatever the verb and the width."""
        return self._made("<nil>" if value is None else self.format(value))

    def padded(self, text: str) -> str:
        """``text`` brought to the directive's width."""
        if self.width is None or len(text) >= self.width:
            return text
        if "-" in self.flags:
            return text.ljust(self.width)
        return text.rjust(self.width, "0" if "0" in self.flags and self.verb in "sqxXvt" else " ")

    def _bool(self, value: bool) -> str | None:
        return self.padded("true" if value else "false") if self.verb in "tv" else None

    def _int(self, value: int) -> str | None:
        verb = "d" if self.verb == "v" else self.verb
        if verb in "cqU":
            return self._rune(int(value), verb)
        if verb not in "dxXobO":
            return None
        digits = format(abs(value), {"O": "o"}.get(verb, verb))
        if self.precision is not None:
            digits = "" if self.precision == 0 and value == 0 else digits.rjust(self.precision, "0")
        prefix = {"x": "0x", "X": "0X", "o": "0", "b": "0b"}.get(verb, "") if "#" in self.flags else ""
        prefix = "0o" if verb == "O" else prefix
        sign = "-" if value < 0 else "+" if "+" in self.flags else " " if " " in self.flags else ""
        if "0" in self.flags and "-" not in self.flags and self.width and self.precision is None:
            digits = digits.rjust(self.width - len(sign), "0")
        return self._spaced(sign + prefix + digits)

    def _named(self, value: Any) -> str | None:
        return self._str(str(value)) if self.verb in "vsqxX" else self._int(int(value))

    def _spaced(self, text: str) -> str:
        width = self.width or 0
        return text.ljust(width) if "-" in self.flags else text.rjust(width)

    def _rune(self, value: int, verb: str) -> str:
        char = chr(value) if 0 <= value <= 0x10FFFF and not 0xD800 <= value < 0xE000 else "\ufffd"
        if verb == "c":
            return self.padded(char)
        if verb == "q":
            return self.padded("'" + _escaped(char, "'", "+" in self.flags) + "'")
        text = f"U+{value % 2**64:04X}"
        if "#" in self.flags and char.isprintable():
            text += f" '{char}'"
        return self._spaced(text)

    def _float(self, value: float) -> str | None:
        verb = self.verb
        if verb in "vgG" and self.precision is None:
            text = gojson.format_float(value)
            if verb == "G":
                text = text.upper()
            if "#" in self.flags:
                text = sharp(text)
        elif verb in "eEfFgGv":
            precision = 6 if self.precision is None else self.precision
            mark = "#" if "#" in self.flags else ""
            text = f"%{mark}.{precision}{'g' if verb == 'v' else verb}" % value
            text = {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}.get(text.lower(), text)
        elif verb in "xX":
            text = hexadecimal(value, self.precision)
            if "#" in self.flags:
                text = sharp(text) if self.precision is None or "." not in text else text
            text = text.upper() if verb == "X" else text
        elif verb == "b" and math.isfinite(value):
            text = binary(value)
        else:
            return None
        if text[:1] not in "+-":
            text = ("+" if "+" in self.flags else " " if " " in self.flags else "") + text
        if "0" in self.flags and "-" not in self.flags and self.width and text[-1].isdigit():
            sign = text[0] if text[0] in "+- " else ""
            return sign + text[len(sign) :].rjust(self.width - len(sign), "0")
        return self._spaced(text)

    def _str(self, value: str) -> str | None:
        if self.precision is not None and self.verb in "svq":
            value = value[: self.precision]
        if self.verb in "sv":
            return self.padded(value)
        if self.verb == "q":
            if "#" in self.flags and "`" not in value and all(c.isprintable() or c == "\t" for c in value):
                return self.padded(f"`{value}`")
            return self.padded(quote(value, ascii_only="+" in self.flags))
        if self.verb in "xX":
            raw = value.encode("utf-8", "surrogatepass")[: self.precision]
            text = raw.hex(" ") if raw and " " in self.flags else raw.hex()
            if raw and "#" in self.flags:
                text = "0x" + text.replace(" ", " 0x")
            return self.padded(text.upper() if self.verb == "X" else text)
        return None
