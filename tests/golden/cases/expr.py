"""expr: what people filter by, every operator between kinds, every built-in with every kind, and random nesting."""

from __future__ import annotations

import random
from collections.abc import Iterator

from argosy.lang import sprig
from tests.golden.files import Question

_EVENT = {"with": "event"}
# Of each kind one that an event holds and one that the expression makes itself: the first has no known type.
_VALUES = [
    "body.id", "body.half", "body.name", "body.yes", "body.none", "body.list", "body.map", "nothing", "body.words",
    "4", "2.5", "-3", "'Joe'", "true", "nil", "[1, 2.0, 3]", "['a', 'b']", "{a: 1}", "1..3", "[]", "{}", "(1)",
    "now", "duration('90s')", "date('2024-01-02')", "split('a,b', ',')", "int('7')", "asInt(body.id)", "body.empty",
    "groupBy(body.list, # > 1)", "toPairs({a: 1})", "body.name[0]", "sprig.add(1, 2)", "[nil]",
]  # fmt: skip
_OPERATORS = [
    "+", "-", "*", "/", "%", "**", "^", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "and", "or", "in", "not in",
    "contains", "startsWith", "endsWith", "matches", "..", "??", "not contains", "not matches",
]  # fmt: skip
_FUNCTIONS = [
    "len", "type", "abs", "ceil", "floor", "round", "int", "float", "string", "trim", "trimPrefix", "trimSuffix", "upper",
    "lower", "split", "splitAfter", "replace", "repeat", "join", "indexOf", "lastIndexOf", "hasPrefix", "hasSuffix",
    "max", "min", "sum", "mean", "median", "toJSON", "fromJSON", "toBase64", "fromBase64", "duration", "date", "first",
    "last", "get", "take", "keys", "values", "toPairs", "fromPairs", "sort", "sortBy", "asInt", "asFloat", "toJson",
]  # fmt: skip
_LOOPS = [
    "all", "none", "any", "one", "filter", "map", "count", "find", "findIndex", "findLast", "findLastIndex", "groupBy",
]  # fmt: skip
_CLOSURES = [
    "# > 1", "{# > 1}", "true", "#", "nil", "# == 2", ".x", "#.x", "#index", "#index > 0", "#acc", "# in [1, 2]", "# % 2 == 0",
    "# * 2", "#nope", "{.x == 1}", "# == 'b'", "{}", "# != nil", "type(#)", "# > 99",
]  # fmt: skip
_COLLECTIONS = [
    "body.list", "body.words", "body.rows", "body.name", "body.map", "body.empty", "body.none", "nothing", "1..4",
    "[1, 2, 3]", "['a', 'b']", "[]", "5", "'ab'", "{a: 1}", "[1, 'a', nil]", "split('a,b,c', ',')", "[3.5, 2]",
]  # fmt: skip
_NUMBERS = [
    "0", "00", "007", "1_000", "1__0", "1_", "0x1F", "0XFF", "0xfg", "0x", "0b101", "0o17", "1.5", "1.", ".5", "1.e3",
    "1e3", "1E3", "1e+3", "1e-3", "1e", "1e999", "1.5.2", "1..3", "1...3", "9223372036854775807", "9223372036854775808",
    "-9223372036854775808", "9007199254740993", "0.1 + 0.2", "1e21", "1e-7", "100000000.0", "123456789.0", "1/3", "2/2",
    "7/2", "1/0", "-1/0", "0/0", "1.0/0", "0.0/-1", "7 % 3", "-7 % 3", "7 % -3", "5 % 0", "5.0 % 2", "2**10", "2^10",
    "2 ** -1", "-2 ** 2", "2 ** 3 ** 2", "4 ** 0.5", "(-8) ** (1.0/3)", "9223372036854775807 + 1", "int(1e300)",
    "1 + 1.0", "3 * 1.5", "10 - 2.5", "-(-9223372036854775807 - 1)", "0xFFFFFFFFFFFFFFFF", "0x7FFFFFFFFFFFFFFF", "1 2",
    "+5", "+body.id", "-body.id", "- - 5", "!5", "-'a'", "1 == 1.0", "1 == true", "9007199254740993 == 9007199254740992.0",
]  # fmt: skip
_TEXTS = [
    "'a'", '"a"', "`a`", "'it\\'s'", '"it\\\'s"', "'a\"b'", '"\\""', "'\\n\\t\\\\\\a\\b\\f\\r\\v'", "'\\x41'", "'\\u00e9'",
    "'\\U0001F600'", "'\\101'", "'\\401'", "'\\0'", "'\\q'", "'\\x4'", "'\\ud800'", "'\\U00110000'", "'\\?'", "'open", "\"open",
    "'a\nb'", "'a\rb'", "'é'", "'日本'", "''", "'a' + 'b'", "'a' + 1", "1 + 'a'", "'a' * 2", "('abc')[0]", "('abc')[1:2]",
    "('héllo')[1:2]", "'abc'[0]", "body.name[0]", "body.name[-1]", "body.name[9]", "body.name[1:]", "body.name[:-1]",
    "body.name[:]", "body.accent[1:2]", "body.accent[0:2] + body.accent[2:]", "len(body.accent)", "len('日本')",
    "'a' < 'b'", "'é' > 'z'", "'B' < 'a'", "'' < 'a'", "body.accent < 'z'", "'\\xff' == 'ÿ'",
]  # fmt: skip
_SYNTAX = [
    "", " ", "// nothing", "1 // one", "1 /* one */ + 2", "/* open", "(1", "1)", "()", "[1", "[1,]", "[,]", "[1,,2]", "{a: 1,}",
    "{a: 1, a: 2}", "{'a b': 1}", "{1: 2}", "{(1): 2}", "{('a' + 'b'): 2}", "{a}", "{in: 1}", "{a: 1}.a", "{a: {b: 2}}.a.b",
    "[1, 2][0]", "[1, 2][-1]", "[1, 2][2]", "[1, 2][1.0]", "[1, 2]['a']", "[1, 2][body.id - 4]", "[1, 2, 3][1:]",
    "[1, 2, 3][:-1]", "[1, 2, 3][5:9]", "[1, 2, 3][-9:2]", "[1, 2, 3][2:1]", "[1,2,3][body.half:]", "[1,2,3]['a':]",
    "body.list[0]", "body.list[-1]", "body.list[9]", "body.list[0.9]", "body.list['x']", "body.map.k", "body.map['k']",
    "body.map.nope", "body.map[0]", "body.map[nil]", "body.none.x", "body?.none?.x", "body.none?.x.y", "nothing.x",
    "nothing?.x", "nothing?.x.y.z", "nothing?.x[0]", "(nothing?.x).y", "nothing?.x()", "body?.map.k", "body ?. map", "body.map?.k?.l",
    "nothing ?? 1", "nothing ?? nil ?? 2", "body.none ?? 'd'", "body.id ?? 1", "nothing ?? 1 + 1", "(nothing ?? 1) + 1",
    "1 + nothing ?? 1", "nothing?.a.b ?? 'x'", "nothing ?? 1 == 1", "nothing ?? true && true", "false ?? true",
    "true ? 1 : 2", "false ? 1 : true ? 2 : 3", "nothing ? 1 : 2", "1 ? 2 : 3", "body.yes ?: 3", "body.none ?: 3",
    "true ?1:2", "body.yes ? body.id : 0", "true ? 1", "true ? : 2", "a ? .5 : 1", "nil ?: 1",
    "1 in [1]", "1 in [1.0]", "1.0 in [1]", "'a' in ['a']", "body.name in ['Joe', 'Ann']", "body.id in [4, 5]",
    "body.id in ['a']", "body.none in ['a']", "body.none in ['']", "nil in [nil]", "nil in [1]", "1 in ['a']", "'a' in [1]",
    "'k' in body.map", "'z' in body.map", "1 in body.map", "nil in body.map", "'a' in {a: 1}", "1 in {a: 1}", "'a' in 'abc'",
    "body.name in 'Joey'", "1 in 1..3", "4 in 1..3", "body.id in 1..5", "2.5 in 1..3", "2.0 in 1..3", "max(1, 2.5) in 1..3",
    "max(1, 2) in [1, 2]", "max(1, 2.5) in [1, 2]", "max(1, 2.5) == 1", "1 in nil", "1 in nothing", "1 not in [2]", "not (1 in [2])",
    "not 1 in [2]", "1 + 1 not in [2]", "1 == 1 not in [true]", "true and 1 not in [2]", "1 not in [2] and true", "1 not [2]",
    "not  in", "not in_var", "1 notin [2]", "! true", "not not true", "!(1 == 2)", "not nothing", "not 'a'",
    "1 == 1 == true", "1 < 2 < 3", "1 < 2 == true", "1 + 2 * 3", "(1 + 2) * 3", "10 - 2 - 3", "2 * 3 % 4", "1..2 + 3", "1..3 == 1..3",
    "[1,2,3] == 1..3", "1..0", "3..1", "1.5..3", "body.id..6", "'a'..'b'", "len(1..1000)", "len(1..2000000)", "1..9223372036854775807",
    "true && false", "true && 1", "1 && true", "nothing && true", "true && nothing", "false && nothing", "nothing && false",
    "nothing || true", "true || nothing", "false || nothing", "body.id && false", "body.id || true", "body.yes && body.id",
    "body.id && body.yes", "body.yes || 5", "true xor false", "true & false", "true | false", "1 <> 2", "1 === 1", "a = 1", "1 ; 2",
    "let x = 1; x + 1", "let x = 1; let y = 2; x + y", "let x = 1; let x = 2; x", "let len = 1; len", "let x = 1", "let = 1; 2",
    "let x 1; x", "1 + let x = 1; x", "(let x = 2; x * x) + 1", "let x = nothing; x", "let f = sprig.upper; f('a')", "let f = len; f([1])",
    "let f = trim; f(' a ')", "let f = asInt; f('3')", "let x = body.list; map(x, # + len(x))", "map([1], let y = #; y + 1)",
    "let sprig = 1; sprig", "let body = 1; body", "let if = 1; if", "let x = 1; x | string()",
    "1 | string()", "'a,b' | split(',') | len()", "[1,2] | map(# + 1)", "[1,2] | map(# + 1) | sum()", "[1,2,3] | filter(# > 1) | len()",
    "body.list | reduce(#acc + #, 0)", "body.list | nope()", "1 | 2", "body.name | upper() == 'JOE'", "1 == 1 | string()", "'a' | len",
    "[1,2] | any(# == 1) ? 1 : 2", "-1 | abs()", "body.name | sprig.upper()", "body.name|lower()|upper()",
    "#", ".x", "#index", "map([1], ##)", "map([1, 2], #index)", "map([[1, 2]], map(#, #))", "map([[1, 2]], map(#, #index))",
    "filter([1, 2], #index == 0)", "map(filter([1, 2, 3], # > 1), #index)", "map(filter([1, 2, 3], # > 1), # * 2)",
    "reduce([1, 2, 3], #acc + #)", "reduce([1, 2, 3], #acc + #, 10)", "reduce([], #acc + #)", "reduce([], #acc + #, 5)",
    "reduce([1, 2], #acc + #index, 0)", "reduce([1, 2, 3], # + #index)", "reduce(body.words, #acc + #, '')", "reduce([1, 2], 7)",
    "reduce([1, 2], nil)", "reduce([[1], [2]], len(#) + #acc, 0)", "map([1, 2], reduce([3, 4], #acc + #, 0))", "reduce([1,2], #acc + #, #)",
    "map([5], reduce([3, 4], #acc + #, #))", "filter(filter(1..9, # > 2), # < 5)", "len(filter(1..9, # > 2))", "filter(1..9, # > 2)[0]",
    "filter(1..9, # > 99)[0]", "filter(1..9, # > 2)[-1]", "filter(1..9, # > 99)[-1]", "first(filter(1..9, # > 2))", "first(filter(1..9, # > 99))",
    "last(filter(1..9, # > 2))", "last(filter(1..9, # > 99))", "map(filter(1..9, # > 2), # * 2)[0]", "filter(body.rows, .x == 1)[0].y",
    "filter(body.rows, .x > 1) | map(.y)", "any(body.rows, {.x == 2 && .y == 'b'})", "find(body.rows, .x == 2).y", "find(body.rows, .x == 9).y",
    "find(body.rows, .x == 9)?.y", "find(split('a,b', ','), # == 'z') == 'q'", "find(split('a,b', ','), # == 'a') == 'a'",
    "all(body.rows, .x)", "count(body.list, # > 1) == 2", "one(body.list, # == 1)", "none(body.list, # == 9)", "groupBy(body.rows, .x)",
    "groupBy(body.rows, .y)['a']", "groupBy(body.rows, .x)[1]", "groupBy(body.rows, .x)[1.0]", "groupBy([], #) ?? 'none'", "groupBy([], #) == nil",
    "len(groupBy(body.rows, .y)['zz'])", "groupBy(body.rows, .y)['zz'] ?? 'none'", "groupBy([1, 1.0, '1', true], #)", "groupBy([[1]], #)",
    "keys(groupBy(['a'], #))", "len(groupBy([1, 1.0, '1', true], #))", "all([], false)", "any([], true)", "none([], true)", "one([], true)", "filter([1], 5)",
    "$env", "$env.body.id", "$env['body'].id", "$env?.nothing?.x", "get($env, 'body')", "get($env, 'x') == nil", "len($env) > 5", "'body' in $env",
    "'sprig' in $env", "$env.len", "$body", "body.type", "type", "type == 'x'", "type(body)", "count == 1", "first.x", "$env['len']", "$env.nothing",
    "top_level", "top-level", "a.b", "a.c.d", "a", "dotted.x.y", "header['Content-Type'][0]", "header?.nope?[0]", "header['X-Nope']?.x", "under_score",
    "body.dash-key", "body['dash-key']", "asInt", "asInt(1, 2)", "asInt()", "asInt('7')", "asInt('7.5')", "asInt(7.9)", "asInt(nil)", "asFloat('1.5')",
    "asFloat('x')", "asInt(body)", "body.id == asInt('4')", "toJson(body.map)", "toJson(nil)", "toJson(1.0)", "toJson('<a>')", "toJson(now())  != ''",
    "toJson(sprig.upper)", "toJson([1, 'a', nil, true, 2.5])", "toJson(groupBy([1], #))", "toJson(1..3)", "toJson(1/0)", "jsonpath('{}', '$')",
    "jsonpath(body.json, '$.a')", "jsonpath(body.json, '$.b[0]')", "jsonpath(body.json, '$.b[*]')", "jsonpath(body.json, '$.nope')", "jsonpath('x', '$')",
    "jsonpath(body.json, '')", "jsonpath(toJson(body), '$.rows[?(@.x > 1)].y')", "jsonpath(body, '$')", "jsonpath(body.json, '$.b.length') == 3",
    "jsonpath(body.json)", "jsonpath(body.json, '$.a', 1)", "foo(1)", "body.name()", "body.nope(1)", "body()", "(1)(2)", "len()", "len(1, 2)", "len", "1()",
    "sprig", "sprig.nope", "sprig.nope(1)", "sprig.trim(' a ')", "sprig.trim(5)", "sprig.trim(nil)", "sprig.trim()", "sprig.trim('a', 'b')",
    "sprig.add(1, 2)", "sprig.add(body.id, 1)", "sprig.add(1, 2) == 3", "sprig.contains('b', 'abc')", "sprig.default('x', nothing)", "sprig.empty('')",
    "sprig.trunc(2, 'abc')", "sprig.trunc(body.id, 'abc')", "sprig.int(body.id)", "sprig.list(1, 'a')", "sprig.dict('a', 1)", "sprig.get(sprig.dict('a', 1), 'a')",
    "sprig.splitList(',', 'a,b')", "sprig.join('-', body.words)", "sprig.has('b', body.words)", "sprig.env('HOME')", "sprig.expandenv('$HOME')", "sprig.fail('x')",
    "'env' in sprig", "'trim' in sprig", "sprig['trim'](' a ')", "sprig.trim(' a ') + 'b'", "sprig.regexMatch('^J', body.name)", "sprig.semver('1.2.3')",
    "sprig.ternary('a', 'b', true)", "sprig.coalesce(nil, 0, 'x')", "sprig.atoi('5') + 1", "sprig.toString(5)", "sprig.kindOf(body.id)", "sprig.len([1])",
    "sprig.max(1, 5)", "sprig.sha256sum('a')", "sprig.b64enc('a')", "sprig.reverse([1, 2])", "sprig.uniq([1, 1])", "sprig.semverCompare('^1.2', '1.3.0')",
    "map(body.words, sprig.upper(#))", "sprig.until(3)", "sprig.upper('a') in ['A']", "sprig.round(1.55, 1)", "sprig.quote('a', 1)", "sprig.cat('a', 1)",
    "sprig.title('ab cd')", "sprig.nospace('a b')", "sprig.hasKey({a: 1}, 'a')", "sprig.keys({a: 1})", "sprig.first([1])", "sprig.toJson({a: 1})",
    "1 == '1'", "body.id == '4'", "body.id == 4", "body.id == 4.0", "4 == body.id", "body.id != 4", "body.id < '5'", "body.id < 5", "body.name < 5", "nil < 1",
    "body.list == [1, 2, 3]", "body.list == [1.0, 2.0, 3.0]", "body.map == {k: 'v'}", "body.map == {}", "body.none == nil", "nothing == nil", "nothing == body.none",
    "nil == false", "nil == 0", "nil == ''", "nil != nil", "body.empty == []", "[] == []", "[[1]] == [[1]]", "[1] == [1.0]", "[1] == ['a']", "{} == {}", "{a: [1]} == {a: [1]}",
    "split('a,b', ',') == ['a', 'b']", "split('a', ',') == split('a', ',')", "true == true", "true == 1", "body.yes == true", "body.yes == 'true'", "NaN == NaN",
    "body.name matches '^J'", "body.name matches 'x$'", "body.name matches '['", "body.name matches body.bad", "body.name matches '^J' + 'o'", "body.id matches '4'",
    "body.none matches 'a'", "body.name matches nil", "'a' matches 'A'", "'a' matches '(?i)A'", "'aa' matches '(a)\\\\1'", "body.name contains 'o'", "body.name contains ''",
    "body.id contains '4'", "body.none contains 'a'", "body.name not contains 'z'", "not body.name contains 'z'", "body.list contains 1", "body.name startsWith 'Jo'",
    "body.name endsWith 'e'", "body.name startsWith 4", "body.accent contains 'é'", "body.accent[1:2] + body.accent[2:3] == 'é'", "body.accent contains body.accent[1:2]",
    "now() > date('2020-01-01')", "date('2024-01-02') + duration('24h') == date('2024-01-03')", "date('2024-01-02').Year()",
    "date('2024-01-02').Month()", "date('2024-01-02').Month() == 1", "date('2024-01-02').Weekday()", "string(date('2024-01-02').Weekday())", "date('2024-01-02').Unix()",
    "date('2024-01-02').Unix() > 0", "date('2024-01-02').Format('02.01.2006')", "date('2024-01-02').AddDate(0, 1, 30)", "date('2024-01-31').AddDate(0, 1, 0)",
    "date('2024-01-02').Nope()", "date('2024-01-02').Nope", "date('2024-01-02').Year", "date('2024-01-02').Clock()", "date('2024-01-02').ISOWeek()",
    "date('2024-01-02').Sub(date('2024-01-01'))", "date('2024-01-02').Before(date('2024-01-03'))", "date('2024-01-02').Add(duration('90m')).Hour()",
    "date('2024-01-02').Add(5)", "date('2024-01-02') - date('2024-01-01')", "date('2024-01-02') - 5", "date('2024-01-02') < 5", "date('2024-01-02T10:00:00+02:00').UTC()",
    "date('2024-01-02T10:00:00Z') == date('2024-01-02T12:00:00+02:00')", "date('2024-01-02 10:11:12')", "date('Mon, 02 Jan 2006 15:04:05 MST')", "date('02 Jan 06 15:04 UTC')",
    "date('x')", "date('01.02.2024', '02.01.2006')", "date('x', '2006')", "date('2024-01-02 10:00', '2006-01-02 15:04', 'Europe/Berlin')", "date('2024-07-02 10:00', '2006-01-02 15:04', 'Europe/Berlin').UTC()",
    "date('2024', '2006', 'No/Where')", "date(5)", "date(body.id)", "duration('1h').Hours()", "duration('90s').Minutes()", "duration('90s').String()", "duration('x')",
    "duration('1h') + duration('1m')", "duration('1h') * 2", "2 * duration('1h')", "duration('1h') * 1.5", "duration('1h') / 2", "duration('1h') > duration('1m')",
    "duration('1h') == 3600000000000", "-duration('1h')", "string(duration('1h30m'))", "string(date('2024-01-02'))", "toJSON(date('2024-01-02'))", "toJSON(duration('1s'))",
    "duration('1h').Round(duration('7m')).String()", "duration('1.5s').Milliseconds()", "date('2024-01-02T10:11:12.345678Z').Truncate(duration('1h'))", "date('2024-01-02').Location().String()",
    "date('2024-01-02').Weekday().String() == 'Tuesday'", "type(now())", "type(duration('1s'))", "max(duration('1s'), duration('2s'))", "sum([duration('1s'), 1])", "abs(duration('1s'))",
    "sort([3, 1, 2])", "sort(['b', 'a'])", "sort([3, 1.0])", "sort([3, 1, 2], 'desc')", "sort([3], 'up')", "sort(body.list, 'desc')", "sort([true])", "sort([true, false])",
    "sort([nil])", "sort([nil, nil])", "sort([])", "sort(body.rows)", "sortBy(body.rows, 'x')", "sortBy(body.rows, 'x', 'desc')", "sortBy(body.rows, 'nope')", "sortBy(body.rows, 'y') | map(.x)",
    "sortBy(body.list, 'x')", "sortBy([3, 1], '')", "sortBy(body.rows, 5)", "sort(1..3, 'desc')", "sort(split('b,a', ','))", "sort('ba')", "sort(body.name)",
    "sum([])", "sum([1, 2])", "sum([1, 2.5])", "sum([2.5, 1])", "sum(['a'])", "sum([nil])", "sum(1..100)", "sum(5)", "sum(body.list)", "sum(body.none)", "mean([])", "mean([1, 2])",
    "mean(body.list)", "median([])", "median([3, 1, 2])", "median([4, 1, 2, 3])", "median(['a'])", "max(1, 2, 3)", "max(1, 2.5)", "max(2.5, 1)", "max('a', 'b')", "max(body.name, 'A')", "max(nil, 1)",
    "max()", "max([1, 2])", "max(body.list)", "min(1, 2)", "min(body.id, 9)", "min(1, 'a')", "max(body.id, body.name)", "max(nil)", "max(body.none, body.id)",
    "take([1, 2, 3], 2)", "take([1], 5)", "take([1], -1)", "take(body.list, 1)", "take(body.list, body.id)", "take(body.list, 1.0)", "take(1..9, 2)", "take('abc', 1)", "take(split('a,b', ','), 1)",
    "first([1, 2])", "first([])", "first(nil)", "first(body.list)", "first(body.empty)", "first(body.none)", "first(body.name)", "first(body.map)", "first({a: 1})", "last([1, 2])", "last(body.name)",
    "get(body.list, 0)", "get(body.list, 99)", "get(body.list, 'x')", "get(body.map, 'k')", "get(body.map, 'z')", "get(nothing, 'x')", "get([1], 'x')", "get([1], nil)", "get({a: 1}, 'a')", "get({a: 1}, 1)", "get(5, 1)", "get([1])",
    "keys({a: 1})", "keys(body.map)", "keys([1])", "keys(body.list)", "values({a: 1})", "values(body.map)", "toPairs({a: 1})", "toPairs({a: 1})[0][0]", "toPairs({a: 1})[0][0:1]", "fromPairs([['a', 1]])", "fromPairs([['a', 1], [2, 3]])",
    "fromPairs([['a']])", "fromPairs([1])", "fromPairs(toPairs({a: 1}))", "fromPairs([['a', 1]])['a']", "fromPairs([['a', 1]]).a", "fromPairs([[nil, 1]])", "fromPairs([[[1], 1]])", "len(fromPairs([[1, 'a'], [1.0, 'b']]))", "fromPairs(toPairs({a: 1})) == {a: 1}",
    "'a' in fromPairs([['a', 1]])", "1 in fromPairs([['a', 1]])", "toJSON(fromPairs([['a', 1]]))", "string(fromPairs([['a', 1]]))",
    "int('5')", "int('+5')", "int('-5')", "int(' 5')", "int('5.0')", "int('0x5')", "int('1_0')", "int('')", "int('9223372036854775807')", "int('9223372036854775808')", "int(5.9)", "int(-5.9)", "int(body.half)", "int(true)", "int(nil)", "int(nothing)", "int([1])", "int(1e300)",
    "float('5')", "float('1e3')", "float('inf')", "float('NaN')", "float('0x1p-2')", "float('1_0')", "float(' 1')", "float('')", "float('1e999')", "float(5)", "float(true)", "float(nothing)",
    "string(5)", "string(5.0)", "string(1e21)", "string(100000000.0)", "string(1e20)", "string(123456.789)", "string(0.000001)", "string(0.00001234)", "string(true)", "string(nil)", "string('a')", "string([1, 'a', nil])", "string({b: 1, a: [2]})", "string(body)", "string(1..3)", "string(-0.0)", "string(1/0)", "string(groupBy(['a'], #))",
    "string(body.id) == '4'", "string(body.big)", "string(body.half)", "upper('é')", "upper('ß')", "lower('İ')", "lower('ÀB')", "upper(5)", "upper(body.id)", "trim('  a ')", "trim('xxaxx', 'x')", "trim('a', '')", "trim('\\u00a0a')", "trim('abcba', 'ab')", "trim(5)", "trim(body.id)", "trim('a', 1)",
    "trimPrefix('abc', 'a')", "trimPrefix(' a')", "trimPrefix('  a')", "trimSuffix('abc', 'c')", "trimSuffix('a ')", "split('a,b,c', ',')", "split('a,b,c', ',', 2)", "split('a,b', ',', 0)", "split('a,b', ',', -1)", "split('abc', '')", "split('abc', '', 2)", "split('', ',')", "split('', '')", "split('é日', '')", "split('a', body.id)", "split('a,b,c', ',', body.half)",
    "splitAfter('a,b', ',')", "splitAfter('a,b,c', ',', 2)", "splitAfter('abc', '')", "replace('aaa', 'a', 'b')", "replace('aaa', 'a', 'b', 2)", "replace('abc', '', '-')", "replace('abc', '', '-', 2)", "replace('aaa', 'a', 'b', -1)", "replace('a', 'b')", "repeat('ab', 3)", "repeat('ab', 0)", "repeat('ab', -1)", "repeat('a', 2000000)", "repeat('a', 1.5)", "repeat('a', body.half)",
    "join(['a', 'b'], '-')", "join(['a', 'b'])", "join(['a', 1])", "join(body.words, ',')", "join(body.list)", "join(split('a,b', ','), '-')", "join(1..3)", "join('a')", "join([])", "join(body.empty, ',')", "join(body.name)", "indexOf('abc', 'c')", "indexOf('héc', 'c')", "indexOf('abc', 'z')", "indexOf('abc', '')", "lastIndexOf('abcabc', 'c')", "lastIndexOf('abc', '')", "hasPrefix('abc', 'a')", "hasSuffix('abc', 'c')", "hasPrefix(body.id, 'a')",
    "toJSON({b: 1, a: [1.5, nil, true, 'x<y']})", "toJSON([])", "toJSON({})", "toJSON('a')", "toJSON(1.0)", "toJSON(1e21)", "toJSON(1/0)", "toJSON(nil)", "toJSON(body.map)", "toJSON([{a: []}])", "toJSON(split('a,b', ','))", "fromJSON('{\"a\": [1, null]}')", "fromJSON('x')", "fromJSON('1')", "fromJSON('')", "fromJSON('1 2')", "fromJSON(body.json).a", "fromJSON('{\"a\":1,\"a\":2}')", "fromJSON(body.id)", "toBase64('a')", "toBase64('é')", "fromBase64('YQ==')", "fromBase64('YQ')", "fromBase64('!')", "fromBase64('w6k=')", "fromBase64('/w==') == 'a'", "fromBase64('Y\\nQ==')",
    "abs(-5)", "abs(-5.5)", "abs(body.neg)", "abs('a')", "abs(body.name)", "ceil(1.2)", "ceil(-0.5)", "ceil(5)", "floor(-1.2)", "floor(1e300)", "round(2.5)", "round(-2.5)", "round(0.49999999999999994)", "round(body.half)", "round(5)", "round('a')", "ceil(1/0)", "round(4503599627370497.5)",
    "len('abc')", "len([1])", "len({a: 1})", "len(5)", "len(nil)", "len(nothing)", "len(body)", "len(body.id)", "type(1)", "type(1.0)", "type('a')", "type(nil)", "type(true)", "type([1])", "type({a: 1})", "type(asInt)", "type(sprig)", "type(1..2)", "type(body.name[0])", "type(nothing)", "type(sprig.add(1, 1))",
    "body.name[0] == 74", "body.name[0] + 1", "body.name[0] * 2.5", "-body.name[0]", "int(body.name[0])", "abs(body.name[0])", "string(body.name[0])", "sum([body.name[0]])", "count(body.name, # == 74)", "map(body.name, #)", "filter(body.map, true)", "map(body.map, 1)", "all(body.map, true)",
]  # fmt: skip


# What is given to sprig's functions, which convert nothing.
_ARGUMENTS = [
    "'abc'", "'a b'", "'Ab-cd_ef'", "''", "'7'", "'1.2.3'", "'^a'", "'%d %s'", "3", "-2", "2.5", "body.id", "int(body.id)", "true",
    "nil", "[1, 2]", "['b', 'a']", "{a: 1}", "body.list", "body.map", "split('x,y', ',')", "sprig.list(1, 'a')", "sprig.dict('a', 1)",
    "1..3", "sprig.int64(5)", "[['a']]",
]  # fmt: skip
_OF_TODAY = {
    "ago",
    "date",
    "dateInZone",
    "date_in_zone",
    "htmlDate",
    "htmlDateInZone",
    "now",
    "toDate",
    "mustToDate",
    "unixEpoch",
}


def _nested(random: random.Random, depth: int) -> str:
    if depth == 0 or random.random() < 0.15:
        return random.choice(_VALUES)
    way = random.random()
    inner = _nested(random, depth - 1)
    if way < 0.1:
        return random.choice(["!", "not ", "-", "+"]) + inner
    if way < 0.2:
        return f"({inner} ? {_nested(random, depth - 1)} : {_nested(random, depth - 1)})"
    if way < 0.35:
        return f"{random.choice(_LOOPS)}({inner}, {random.choice(_CLOSURES)})"
    if way < 0.45:
        return f"{random.choice(_FUNCTIONS)}({inner})"
    if way < 0.5:
        return f"{inner} | {random.choice(_FUNCTIONS)}()"
    if way < 0.55:
        return f"({inner})" + random.choice(["[0]", "[-1]", "[1:]", ".k", "?.k", "['k']", ".k.l", "?.k.l"])
    text = f"{inner} {random.choice(_OPERATORS)} {_nested(random, depth - 1)}"
    return f"({text})" if random.random() < 0.6 else text


def questions(random: random.Random) -> Iterator[Question]:
    """Everything above, operators and functions between all kinds, and what grows from them."""
    for text in _NUMBERS + _TEXTS + _SYNTAX + _VALUES:
        yield {**_EVENT, "expr": text}
    pairs = [(a, operator, b) for a in _VALUES for operator in _OPERATORS for b in _VALUES]
    for a, operator, b in random.sample(pairs, 2500):
        yield {**_EVENT, "expr": f"{a} {operator} {b}"}
    for function in _FUNCTIONS:
        for value in _VALUES:
            yield {**_EVENT, "expr": f"{function}({value})"}
        for a, b in random.sample([(a, b) for a in _VALUES for b in _VALUES], 12):
            yield {**_EVENT, "expr": f"{function}({a}, {b})"}
    for loop in _LOOPS:
        for collection in _COLLECTIONS:
            for closure in random.sample(_CLOSURES, 6):
                yield {**_EVENT, "expr": f"{loop}({collection}, {closure})"}
    for collection in _COLLECTIONS:
        for closure in ("#acc + #", "# + #acc", "max(#acc, #)", "#index", "#acc", "nil", "#acc + [#]"):
            yield {**_EVENT, "expr": f"reduce({collection}, {closure})"}
            yield {**_EVENT, "expr": f"reduce({collection}, {closure}, 0)"}
            yield {**_EVENT, "expr": f"reduce({collection}, {closure}, '')"}
    for function in sorted(set(sprig.FUNCTIONS) - _OF_TODAY):
        for count in (0, 1, 1, 1, 2, 2, 2, 2, 3, 3):
            given = ", ".join(random.choice(_ARGUMENTS) for _ in range(count))
            yield {**_EVENT, "expr": f"sprig.{function}({given})"}
    for _ in range(2500):
        yield {**_EVENT, "expr": _nested(random, random.choice([1, 2, 3, 4]))}
