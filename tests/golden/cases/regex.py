"""Regular expressions: RE2's syntax, what Perl has beyond it, and texts to search."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.golden.files import Question

_PATTERNS = [
    "", "a", "^a", "a$", "^$", "a|b", "(a|b)*c", "a+", "a+?", "a{2,3}", "a{0}", "a{1001}", "a{2,1}", "[abc]", "[^abc]",
    "[a-z]+", "[z-a]", "[]a]", "[a", "(a", "a)", "(?:a)", "(?i)ABC", "(?s)a.b", "(?m)^b", "(?U)a+", "(?x)a b", "(?P<n>a)",
    "(?<n>a)", "(?P=n)", "\\1", "(a)\\1", "(?=a)", "(?!a)", "(?<=a)b", "(?>a)", "\\d+", "\\D", "\\w", "\\s", "\\b", "\\B",
    "\\A", "\\z", "\\Z", "\\Qa.b\\E", "\\x41", "\\x{e9}", "\\u0041", "\\pL", "\\p{Greek}", "\\p{Nope}", "\\PL",
    "[[:alpha:]]", "[[:nope:]]", "[\\d-z]", "\\C", "\\R", "\\K", "\\h", "\\G", "a**", "a*+", "*a", "+", "?", "a{,2}",
    "{", "a{", "x{2}{3}", ".", "\\.", "\\/", "\\-", "\\é", "é", "é+", "日", "^(dev|main)$", "\\.nova$", "^v\\d+\\.\\d+",
    "(?i)É", "\\", "[\\", "(?", "(?i", "(?-i)a", "(?i-s:a.b)", "\\a\\f\\t\\n\\r\\v", "\\07", "\\8", "[[:word:]]+",
    "[^\\n]", "(|a)+", "()", "(((((a)))))", "^*", "$^", "\\x", "\\x{110000}", "\\cA", "\\e", "(?#c)a", "\\N{U+41}", "\\X",
    "[a-\\d]", "[&&a]", "a{1000}", "(a{100}){20}", "(a{2}){3}", "\\z.", "[[a]", "[a]]", "\\p{L}+", "\\p{^L}", "\\pN",
    "(?P<n>a)(?P<n>b)", "(?P<1a>a)", "(?P<>a)", "\\p{Lu}", "[\\p{Lu}\\d]+", "[^\\PL]", "(?i)ſ", "(?i)K",
]  # fmt: skip
_TEXTS = [
    "", "a", "b", "aaa", "abc", "ABC", "a\nb", "a b", "a.b", "é", "É", "日本", "x41A", "dev", "main", "host.nova",
    "v1.25", "1", "_", "\t", "b\na", "αβ", "s", "k", "aab", "\\", "a{", "[a]", "ſ", "\u212a", "e\u0301", "\x07",
]  # fmt: skip


def questions(random: random.Random) -> Iterator[Question]:
    """Each pattern on some texts."""
    for pattern in _PATTERNS:
        for text in random.sample(_TEXTS, 5):
            yield {"pattern": pattern, "text": text}
