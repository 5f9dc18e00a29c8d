"""JSONPath: every kind of step behind every other, the operators of filters between kinds, and what is no path."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.golden.files import Question

_STORE = {"with": "store"}
_STEPS = [
    ".store", ".book", ".title", "['title']", '["title"]', "[0]", "[-1]", "[9]", "[*]", ".*", "..", "..price", ".length", "[0:2]", "[1:]", "[:1]", "[:]", "[::2]",
    "[::-1]", "[-2:]", "[0,1]", "['title','price']", "[(@.length-1)]", "[?(@.price < 10)]", "[?(@.isbn)]", ".nope", "[1:3:1]", "[?(@)]", ".price", "['store']", "[0,'a']", "[5,0]",
    "[(1+1)]", "[0:(@.length)]", "[(0),1]", "..*", "..[0]", "..['title']", "..length", ".id",
]  # fmt: skip
_FILTERS = [
    "@.price < 10", "@.price <= 8.95", "@.price > 10", "@.price >= 22.99", "@.price == 8.95", "@.price != 8.95", "@.title == 'Moby Dick'", '@.title == "Moby Dick"', "'Moby Dick' == @.title",
    "@.isbn", "!@.isbn", "@.isbn && @.price > 9", "@.isbn || @.price < 9", "@.price > 1 && @.price < 10", "(@.price > 1)", "(@.price > 1) && (@.price < 10)", "((@.price > 1))", "@.title =~ '^M'",
    "@.title =~ /^M/", "@.title =~ '(?i)moby'", "@.title =~ '['", "@.price in [8.95, 12.99]", "@.title in ['Moby Dick']", 'Moby in ["Moby"]', "@.price not in [8.95]", "@.tags[0] == 'a'", "@.tags.length > 1",
    "@.price + 1 > 10", "@.price - 1 < 8", "@.price * 2 > 20", "@.price / 2 < 5", "@.n % 2 == 0", "@.n ** 2 == 4", "@.n % 0 == 1", "@.price == null", "@.none == null", "@.none == nil", "@.nope == null", "@.none",
    "@.ok", "@.ok == true", "@.ok == false", "!@.ok", "@.ok && true", "$.limit > @.price", "@.price < $.limit", "$.nope", "@", "true", "false", "1", "0", "''", "'a'", "a", "null", "", " ", "@.", "@.price <", "< 3", "@.price < abc",
    "@.tags == '[a b]'", "@.category == fiction", "@.category == 'fiction'", "@['category'] == 'fiction'", "@.title == @.title", "@.price == '8.95'", "@.price - -1 > 1", "-1 < @.price", "@..price", "@.*", "@.tags[?(@ == 'a')]", "@.tags[*]",
    "@.n in @.tags", "'a' in @.tags", "@.category && @.price", "@.price > 5 || @.isbn && false", "[1]", "[]", "{}", '{"a":1}', "@.tags == []", "2 > 1", "1 == 1.0", "'1' == 1", "@.price=='8.95'", "@.title != ''", "@.length > 1", "@.key-dash == 3", "@['key-dash'] == 3",
]  # fmt: skip
_WHOLE = [
    "$", "@", "", "x", "$x", "$.", "$..", "$...a", "$[", "$[]", "$]", "$['a", "$['a'", "$['a']b", "$.a[", "$.store.book[0", "$[?(@.a]", "$[?@.a]", "$[?()]", "$[()]", "$[( )]", "$[(]", "$[a]", "$['a','b'", "$[1,]", "$[,1]", "$[1,,2]", "$[::]", "$[:::]", "$[1:2:0]", "$[a:b]",
    "$['a':1]", "$[1:2,3]", "$[-]", "$[+1]", "$[01]", "$[ 0 ]", "$[ 'store' ]", "$[ 'store' , 'limit' ]", "$. store", "$.store .book", "$['it\\'s']", "$['a.b']", "$.a.b", "$['a','limit']", "$[\"a\\\"b\"]", "$['a)']", "$['(a']", "$.length", "$['length']", "$.store.length",
    "$.text.length", "$.text[0]", "$.text[0:2]", "$.text[*]", "$.limit[0]", "$.limit.x", "$.none.x", "$.none", "$.none[*]", "$.none..x", "$..none", "$.list[0][1]", "$.list[*][0]", "$.list..", "$.list[?(@.length > 1)]", "$.list[?(@[0] == 1)]", "$.list[-1:][0]", "$.list[0:2][0]",
    "$.list[*][?(@ > 1)]", "$.nested..x", "$.nested..[?(@.x)]", "$.nested.*.x", "$.nested[*]", "$.nested['p','q']", "$.nested['p','zz']", "$.nested['p','q'].x", "$.nested['p','q'][0]", "$.nested['zz']", "$.nested[?(@.x > 1)]", "$.nested[?(@.x > 1)][0]", "$.nested[('p')]", "$.nested[(@.key)]",
    "$.store.book[?(@.price < 10)].title", "$.store.book[?(@.price < 10)][0]", "$.store.book[?(@.price < 10)][0].title", "$.store.book[(@.length-1)].title", "$.store.book[?(@.price == $.store.book[0].price)].title", "$.store.book..title", "$.store..price", "$..book[2]", "$..book[-1:]",
    "$..book[0,1]", "$..book[:2]", "$..book[?(@.isbn)]", "$..*", "$.store.*", "$.store.book[*].title", "$.store.book.*.title", "$.store.book[*].tags[0]", "$.store.book[*].length", "$.*", "$[*]", "$[0]", "$[:]", "$.limit..x", "$.text..", "@.store.limit", "$.store.book[?(@.tags[?(@ == 'a')])]", "$..[?(@.price)]",
]  # fmt: skip


def questions(random: random.Random) -> Iterator[Question]:
    """Whole paths, every filter, and random rows of steps."""
    for path in _WHOLE:
        yield {**_STORE, "path": path}
    for text in _FILTERS:
        yield {**_STORE, "path": f"$.store.book[?({text})]"}
        yield {**_STORE, "path": f"$.store.book[?({text})].n"}
        yield {**_STORE, "path": f"$.nested[?({text})]"}
        yield {**_STORE, "path": f"$.list[({text})]"}
    for _ in range(300):
        a, b, operator = random.choice(_FILTERS), random.choice(_FILTERS), random.choice(["&&", "||", "==", "!=", "+"])
        yield {**_STORE, "path": f"$.store.book[?({a} {operator} {b})].n"}
    for _ in range(900):
        steps = "".join(random.choice(_STEPS) for _ in range(random.choice([1, 2, 2, 3, 4])))
        yield {**_STORE, "path": f"$.store.book{steps}" if random.random() < 0.5 else f"${steps}"}
