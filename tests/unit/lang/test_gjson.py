"""gjson paths against answers that gjson 1.19.0 itself gave for the same texts (Go 1.26)."""

from __future__ import annotations

import json
import math

import pytest

from argosy.errors import LangError
from argosy.lang import gjson, gojson
from argosy.lang.gjson import Document

INFINITE = math.inf
NOT_A_NUMBER = math.nan

DOCUMENT = """{
  "name": {"first": "Tom", "last": "Anderson"},
  "age": 37, "rate": 1.50, "big": 12345678901234567890123, "huge": 1E400, "tiny": 1e-7, "none": null,
  "yes": true, "no": false, "zero": 0, "minus": -0,
  "fav.movie": "Deer Hunter", "a*b": "star", "a|b": "bar", "@timestamp": "T", "@this": "key",
  "children": ["Sara", "Alex", "Jack"],
  "friends": [
    {"first": "Dale", "last": "Murphy", "age": 44, "nets": ["ig", "fb", "tw"], "vip": true},
    {"first": "Roger", "last": "Craig", "age": 68, "nets": ["fb", "tw"], "vip": "false"},
    {"first": "Jane", "last": "Murphy", "age": 47.5, "nets": ["ig", "tw"], "vip": null},
    {"first": "No \\"one\\""}
  ],
  "twice": {"x": 1}, "twice": {"x": 2, "y": 3}, "matrix": [[1, 2], [3, [4]], []],
  "text": "{\\"id\\":7,\\"tags\\":[\\"a\\"]}", "esc\\u0061ped": "tab\\there \\u00e9 \\ud83d\\ude00 \\ud800!",
  "empty": {}, "void": [], "": "nameless", "007": "bond", "é": {"日本": "国"}, "<k>": "a<b&c>d"
}"""

# path, kind (None: nothing found), raw text
FOUND = [
    ("name.last", "String", '"Anderson"'),
    ("children.\\.@keys", "JSON", "[]"),
    ("children.x\\|@keys", "JSON", "[]"),
    ("void.0\\.1", None, ""),
    ("name", "JSON", '{"first": "Tom", "last": "Anderson"}'),
    ("age", "Number", "37"),
    ("rate", "Number", "1.50"),
    ("big", "Number", "12345678901234567890123"),
    ("huge", "Number", "1E400"),
    ("tiny", "Number", "1e-7"),
    ("none", "Null", "null"),
    ("none.x", None, ""),
    ("yes", "True", "true"),
    ("no", "False", "false"),
    ("minus", "Number", "-0"),
    ("nothing", None, ""),
    ("name.first.x", None, ""),
    ("fav\\.movie", "String", '"Deer Hunter"'),
    ("fav.movie", None, ""),
    ("a\\*b", "String", '"star"'),
    ("a*b", "String", '"star"'),
    ("a\\|b", "String", '"bar"'),
    ("@timestamp", "String", '"T"'),
    ("\\@this", "String", '"key"'),
    ("children", "JSON", '["Sara", "Alex", "Jack"]'),
    ("children.0", "String", '"Sara"'),
    ("children.1", "String", '"Alex"'),
    ("children.3", None, ""),
    ("children.-1", None, ""),
    ("children.01", "String", '"Alex"'),
    ("children.#", "Number", "3"),
    ("child*.2", "String", '"Jack"'),
    ("c?ildren.0", "String", '"Sara"'),
    ("*.0", "String", '"Sara"'),
    ("friends.#", "Number", "4"),
    ("friends.#.first", "JSON", '["Dale","Roger","Jane","No \\"one\\""]'),
    ("friends.#.nets.0", "JSON", '["ig","fb","ig"]'),
    ("friends.#.nets.#", "JSON", "[3,2,2]"),
    ("friends.#.missing", "JSON", "[]"),
    ("friends.1.last", "String", '"Craig"'),
    ('friends.#(last=="Murphy").first', "String", '"Dale"'),
    ('friends.#(last=="Murphy")#.first', "JSON", '["Dale","Jane"]'),
    ("friends.#(last=Murphy)#.age", "JSON", "[44,47.5]"),
    ("friends.#(age>45)#.last", "JSON", '["Craig","Murphy"]'),
    ("friends.#(age>=44)#.age", "JSON", "[44,68,47.5]"),
    ("friends.#(age<47.5).first", "String", '"Dale"'),
    ("friends.#(age<=47.5)#|#", "Number", "2"),
    ('friends.#(first%"D*").last', "String", '"Murphy"'),
    ('friends.#(first!%"D*").last', "String", '"Craig"'),
    ('friends.#(first%"R?ger").age', "Number", "68"),
    ('friends.#(first!="Dale")#.first', "JSON", '["Roger","Jane","No \\"one\\""]'),
    ('friends.#(last>"Craig")#.first', "JSON", '["Dale","Jane"]'),
    ('friends.#(nets.#(=="fb"))#.first', "JSON", '["Dale","Roger"]'),
    ('friends.#(nets.#(=="ig")#)#.first', "JSON", '["Dale","Roger","Jane"]'),
    ("friends.#(vip==~true)#.first", "JSON", '["Dale"]'),
    ("friends.#(vip==~false)#.first", "JSON", '["Roger","Jane","No \\"one\\""]'),
    ("friends.#(vip==~null)#.first", "JSON", '["Jane","No \\"one\\""]'),
    ("friends.#(vip==~*)#.first", "JSON", '["Dale","Roger","Jane"]'),
    ("friends.#(vip!=~*)#.first", "JSON", '["No \\"one\\""]'),
    ("friends.#(vip==true)#.first", "JSON", '["Dale"]'),
    ("friends.#(vip>false).first", "String", '"Dale"'),
    ('friends.#(first=="No \\"one\\"").first', "String", '"No \\"one\\""'),
    ("friends.#(age)#.first", "JSON", '["Dale","Roger","Jane"]'),
    ('friends.#(nobody=="x")', None, ""),
    ('friends.#(nobody=="x")#', "JSON", "[]"),
    ('friends.#(last=="Murphy")#|0.first', "String", '"Dale"'),
    ('friends.#(last=="Murphy")#.0', "JSON", "[]"),
    ('friends.#(last=="Murphy', None, ""),
    ('children.#(=="Alex")', "String", '"Alex"'),
    ('children.#(%"*a*")#', "JSON", '["Sara","Jack"]'),
    ('children.#(!="Alex")#', "JSON", '["Sara","Jack"]'),
    ('children.#(>"Jack")#', "JSON", '["Sara"]'),
    ("matrix.#(#>1)#", "JSON", "[[1, 2],[3, [4]]]"),
    ("matrix.#.0", "JSON", "[1,3]"),
    ("matrix.1.1.0", "Number", "4"),
    ("matrix.#.#", "JSON", "[2,2,0]"),
    ("twice.x", "Number", "1"),
    ("twice.y", "Number", "3"),
    ("twice", "JSON", '{"x": 1}'),
    ("text", "String", '"{\\"id\\":7,\\"tags\\":[\\"a\\"]}"'),
    ("text.id", None, ""),
    ("text|id", None, ""),
    ("text.@fromstr.id", "Number", "7"),
    ("text.@fromstr|tags.0", "String", '"a"'),
    ("escaped", "String", '"tab\\there \\u00e9 \\ud83d\\ude00 \\ud800!"'),
    ("empty", "JSON", "{}"),
    ("empty.x", None, ""),
    ("void", "JSON", "[]"),
    ("void.0", None, ""),
    ("void.#", "Number", "0"),
    ("void.#.x", "JSON", "[]"),
    ("007", "String", '"bond"'),
    ("é.日本", "String", '"国"'),
    ("<k>", "String", '"a<b&c>d"'),
    ("name|last", "String", '"Anderson"'),
    ("name.first|@this", "String", '"Tom"'),
    ("children|0", "String", '"Sara"'),
    ("children|#", "Number", "3"),
    ("friends|1|first", "String", '"Roger"'),
    ("friends.#.first|1", "String", '"Roger"'),
    ("friends.#.first.1", "JSON", "[]"),
    ("missing|@keys", "JSON", "[]"),
    ("missing|!true", "True", "true"),
    ("@this.age", "Number", "37"),
    ("@this|age", "Number", "37"),
    ("children.@reverse", "JSON", '["Jack","Alex","Sara"]'),
    ("children|@reverse|0", "String", '"Jack"'),
    ("name.@reverse", "JSON", '{"last":"Anderson","first":"Tom"}'),
    ("age.@reverse", "Number", "37"),
    ("name.@keys", "JSON", '["first","last"]'),
    ("name.@values", "JSON", '["Tom","Anderson"]'),
    ("children.@keys", "JSON", "[null,null,null]"),
    ("children.@values", "JSON", '["Sara", "Alex", "Jack"]'),
    ("age.@values", "JSON", "[37]"),
    ("name.@ugly", "JSON", '{"first":"Tom","last":"Anderson"}'),
    ("friends.0|@ugly", "JSON", '{"first":"Dale","last":"Murphy","age":44,"nets":["ig","fb","tw"],"vip":true}'),
    (
        "friends.0|@pretty",
        "JSON",
        ('{\n  "first": "Dale",\n  "last": "Murphy",\n  "age": 44,\n  "nets": ["ig", "fb", "tw"],\n  "vip": true\n}\n'),
    ),
    (
        'name|@pretty:{"sortKeys":true,"indent":"\\t","prefix":" "}',
        "JSON",
        '{\n \t"first": "Tom",\n \t"last": "Anderson"\n }\n',
    ),
    ('matrix|@pretty:{"width":10}', "JSON", "[\n  [1, 2],\n  [3, [4]],\n  []\n]\n"),
    ("matrix|@flatten", "JSON", "[1, 2,3, [4]]"),
    ('matrix|@flatten:{"deep":true}', "JSON", "[1,2,3,4]"),
    ("friends.#.nets|@flatten", "JSON", '["ig", "fb", "tw","fb", "tw","ig", "tw"]'),
    ("name|@flatten", "JSON", '{"first": "Tom", "last": "Anderson"}'),
    ("friends|@join|first", "String", '"No \\"one\\""'),
    ("[name,twice]|@join", "JSON", '{"first":"Tom","last":"Anderson","x":1}'),
    (
        '[name,name]|@join:{"preserve":true}',
        "JSON",
        '{"first": "Tom", "last": "Anderson","first": "Tom", "last": "Anderson"}',
    ),
    ("name.@tostr", "String", '"{\\"first\\": \\"Tom\\", \\"last\\": \\"Anderson\\"}"'),
    ("name.@tostr.@fromstr.first", "String", '"Tom"'),
    ("age.@tostr", "String", '"37"'),
    ("name.first.@fromstr", None, ""),
    ("name.@valid.first", "String", '"Tom"'),
    (
        '{"id":children,"val":friends.#.first}|@group',
        "JSON",
        ('[{"id":"Sara","val":"Dale"},{"id":"Alex","val":"Roger"},{"id":"Jack","val":"Jane"},{"val":"No \\"one\\""}]'),
    ),
    ("name.@group", "JSON", "[]"),
    ("@dig:last", "JSON", '["Anderson","Murphy","Craig","Murphy"]'),
    ("@dig:nets.#", "JSON", "[3,2,2]"),
    ("name|@nope", None, ""),
    ("name.@nope", None, ""),
    ("friends.#.first|@reverse|0", "String", '"No \\"one\\""'),
    ("[name.first,age]", "JSON", '["Tom",37]'),
    ("[age,nothing,yes]", "JSON", "[37,true]"),
    ("[nothing]", "JSON", "[]"),
    ("[]", "JSON", '["nameless"]'),
    ("{name.first,age}", "JSON", '{"first":"Tom","age":37}'),
    ('{"n":name.first,"years":age,nothing}', "JSON", '{"n":"Tom","years":37}'),
    ("{n:name.first}", "JSON", '{"n":"Tom"}'),
    ("{name.first,children.#}", "JSON", '{"first":"Tom","_":3}'),
    ("{friends.#.first}", "JSON", '{"first":["Dale","Roger","Jane","No \\"one\\""]}'),
    ("{children|@reverse}", "JSON", '{"@reverse":["Jack","Alex","Sara"]}'),
    ("{fav\\.movie}", "JSON", '{"fav\\\\.movie":"Deer Hunter"}'),
    ("name.{first,last}", "JSON", '{"first":"Tom","last":"Anderson"}'),
    ("name.[last,first]", "JSON", '["Anderson","Tom"]'),
    (
        "friends.#.{first,age}",
        "JSON",
        ('[{"first":"Dale","age":44},{"first":"Roger","age":68},{"first":"Jane","age":47.5},{"first":"No \\"one\\""}]'),
    ),
    ("friends.#.[first,age]|1", "JSON", '["Roger",68]'),
    ('friends.#(last=="Murphy")#.{first,"n":nets.#}', "JSON", '[{"first":"Dale","n":3},{"first":"Jane","n":2}]'),
    ("friends.{0.first,1.last}", "JSON", '{"first":"Dale","last":"Craig"}'),
    ('{a:!"lit",b:!5,c:!true,d:![1,2]}', "JSON", '{"a":"lit","b":5,"c":true,"d":[1,2]}'),
    ('[age,children.#(=="Alex")]', "JSON", '[37,"Alex"]'),
    ("[age,rate].#", "Number", "2"),
    ("{age}.age", "Number", "37"),
    ("[age]x", None, ""),
    ("[age", "String", '"nameless"'),
    ('!"lit"', "String", '"lit"'),
    ('!"lit"|@this', "String", '"lit"'),
    ("!42", "Number", "42"),
    ('!{"a":[1]}.a.0', "Number", "1"),
    ("!null", "Null", "null"),
    ("!TRUE", None, ""),
    ("!other", None, ""),
    ("name.first.", None, ""),
    (".name", None, ""),
    (
        "..0",
        "JSON",
        (
            '{\n  "name": {"first": "Tom", "last": "Anderson"},\n  "age": 37, "rate": 1.50, "bi'
            'g": 12345678901234567890123, "huge": 1E400, "tiny": 1e-7, "none": null,\n  "yes":'
            ' true, "no": false, "zero": 0, "minus": -0,\n  "fav.movie": "Deer Hunter", "a*b":'
            ' "star", "a|b": "bar", "@timestamp": "T", "@this": "key",\n  "children": ["Sara",'
            ' "Alex", "Jack"],\n  "friends": [\n    {"first": "Dale", "last": "Murphy", "age": '
            '44, "nets": ["ig", "fb", "tw"], "vip": true},\n    {"first": "Roger", "last": "Cr'
            'aig", "age": 68, "nets": ["fb", "tw"], "vip": "false"},\n    {"first": "Jane", "l'
            'ast": "Murphy", "age": 47.5, "nets": ["ig", "tw"], "vip": null},\n    {"first": "'
            'No \\"one\\""}\n  ],\n  "twice": {"x": 1}, "twice": {"x": 2, "y": 3}, "matrix": [[1,'
            ' 2], [3, [4]], []],\n  "text": "{\\"id\\":7,\\"tags\\":[\\"a\\"]}", "esc\\u0061ped": "ta'
            'b\\there \\u00e9 \\ud83d\\ude00 \\ud800!",\n  "empty": {}, "void": [], "": "nameless",'
            ' "007": "bond", "é": {"日本": "国"}, "<k>": "a<b&c>d"\n}'
        ),
    ),
    ("..#", "Number", "1"),
    ("..1", None, ""),
    ("name..first", None, ""),
    (
        '@pretty:{"width":0}|@ugly',
        "JSON",
        (
            '{"name":{"first":"Tom","last":"Anderson"},"age":37,"rate":1.50,"big":12345678901'
            '234567890123,"huge":1E400,"tiny":1e-7,"none":null,"yes":true,"no":false,"zero":0'
            ',"minus":-0,"fav.movie":"Deer Hunter","a*b":"star","a|b":"bar","@timestamp":"T",'
            '"@this":"key","children":["Sara","Alex","Jack"],"friends":[{"first":"Dale","last'
            '":"Murphy","age":44,"nets":["ig","fb","tw"],"vip":true},{"first":"Roger","last":'
            '"Craig","age":68,"nets":["fb","tw"],"vip":"false"},{"first":"Jane","last":"Murph'
            'y","age":47.5,"nets":["ig","tw"],"vip":null},{"first":"No \\"one\\""}],"twice":{"x'
            '":1},"twice":{"x":2,"y":3},"matrix":[[1,2],[3,[4]],[]],"text":"{\\"id\\":7,\\"tags\\'
            '":[\\"a\\"]}","esc\\u0061ped":"tab\\there \\u00e9 \\ud83d\\ude00 \\ud800!","empty":{},"v'
            'oid":[],"":"nameless","007":"bond","é":{"日本":"国"},"<k>":"a<b&c>d"}'
        ),
    ),
    ("#", None, ""),
    ("0", None, ""),
    ('friends.#[last=="Craig"].first', "String", '"Roger"'),
    ("friends.#()#.first", "JSON", "[]"),
    ("friends.#(!)", None, ""),
    ("*", "JSON", '{"first": "Tom", "last": "Anderson"}'),
    ("n?me.*st", "String", '"Tom"'),
    ("*e.l*", "String", '"Anderson"'),
    ("twice.*", "Number", "1"),
    ("", "String", '"nameless"'),
]

LINES = '{"name":"Gilbert","age":61}\n{"name":"Alexa","age":34}\n["May",57]\n "x" 5\n'
FOUND_IN_LINES = [
    ("..#", "Number", "5"),
    ("..1", "JSON", '{"name":"Alexa","age":34}'),
    ("..1.name", "String", '"Alexa"'),
    ("..#.name", "JSON", '["Gilbert","Alexa"]'),
    ('..#(name=="Alexa").age', "Number", "34"),
    ("..2.0", "String", '"May"'),
    ("..3", "String", '"x"'),
    ("..4", "Number", "5"),
    ("..5", None, ""),
    ("..#.age|@reverse", "JSON", "[34,61]"),
    ("..", None, ""),
]

SOUND = (
    '{"name": {"first": "Tom", "last": ["A", "B\\u0061"]}, "n": [0, -1, 1.50, 1e3, 123'
    '456789012345678901234567890, 0.1], "yes": true, "no": false, "none": null, "fav.'
    'movie": "x", "@timestamp": "T", "@this": 1, "": {"": "e"}, "007": "bond", "\\u00e'
    '9": {"x y": "\\ud83d\\ude00"}, "deep": [[{"a": [ {} , [ ] ]}]], ":1": "c", "a": {"'
    '0": "zero", "b": {"c": {"d": 1E-7}}}}'
)
# path, kind, raw text, in SOUND
FOUND_IN_TREE = [
    ("name", "JSON", '{"first": "Tom", "last": ["A", "B\\u0061"]}'),
    ("name.first", "String", '"Tom"'),
    ("name.first.x", None, ""),
    ("name.last", "JSON", '["A", "B\\u0061"]'),
    ("name.last.0", "String", '"A"'),
    ("name.last.1", "String", '"B\\u0061"'),
    ("name.last.01", "String", '"B\\u0061"'),
    ("name.last.2", None, ""),
    ("name.last.-1", None, ""),
    ("name.last.x", None, ""),
    ("name.missing", None, ""),
    ("n.0", "Number", "0"),
    ("n.1", "Number", "-1"),
    ("n.2", "Number", "1.50"),
    ("n.3", "Number", "1e3"),
    ("n.4", "Number", "123456789012345678901234567890"),
    ("n.5", "Number", "0.1"),
    ("n.18446744073709551616", "Number", "0"),
    ("yes", "True", "true"),
    ("no", "False", "false"),
    ("none", "Null", "null"),
    ("none.a", None, ""),
    ("fav\\.movie", "String", '"x"'),
    ("fav.movie", None, ""),
    ("@timestamp", "String", '"T"'),
    ("\\@this", "Number", "1"),
    ("@nope", None, ""),
    (".", "String", '"e"'),
    ("", "JSON", '{"": "e"}'),
    ("\\", "JSON", '{"": "e"}'),
    ("007", "String", '"bond"'),
    ("7", None, ""),
    ("é.x y", "String", '"\\ud83d\\ude00"'),
    ("deep.0.0.a.0", "JSON", "{}"),
    ("deep.0.0.a.1", "JSON", "[ ]"),
    ("deep.0.0.a", "JSON", "[ {} , [ ] ]"),
    ("deep.0.0", "JSON", '{"a": [ {} , [ ] ]}'),
    ("deep.0\\.0", None, ""),
    ("deep.\\0", None, ""),
    (":1", "String", '"c"'),
    ("a.0", "String", '"zero"'),
    ("a.b.c.d", "Number", "1E-7"),
    ("a.b.c", "JSON", '{"d": 1E-7}'),
    ("a.b\\.c", None, ""),
    ("n", "JSON", "[0, -1, 1.50, 1e3, 123456789012345678901234567890, 0.1]"),
]

# JSON text of a value, its kind, String(), Float(), Bool()
READ_AS = [
    ("0", "Number", "0", 0.0, False),
    ("-0", "Number", "-0", -0.0, False),
    ("5", "Number", "5", 5.0, True),
    ("-17", "Number", "-17", -17.0, True),
    ("1.0", "Number", "1", 1.0, True),
    ("1.50", "Number", "1.5", 1.5, True),
    ("1e3", "Number", "1000", 1000.0, True),
    ("1E-7", "Number", "0.0000001", 1e-07, True),
    ("1e21", "Number", "1000000000000000000000", 1e21, True),
    ("123456789012345678901234567890", "Number", "123456789012345678901234567890", 1.2345678901234568e29, True),
    ("9007199254740993", "Number", "9007199254740993", 9007199254740992.0, True),
    ("1e400", "Number", "+Inf", INFINITE, True),
    ("-1e400", "Number", "-Inf", -INFINITE, True),
    ("0.1", "Number", "0.1", 0.1, True),
    ("100000000000000000000.5", "Number", "100000000000000000000", 1e20, True),
    ("true", "True", "true", 1.0, True),
    ("false", "False", "false", 0.0, False),
    ("null", "Null", "", 0.0, False),
    ('""', "String", "", 0.0, False),
    ('"0"', "String", "0", 0.0, False),
    ('"1"', "String", "1", 1.0, True),
    ('"t"', "String", "t", 0.0, True),
    ('"T"', "String", "T", 0.0, True),
    ('"TRUE"', "String", "TRUE", 0.0, True),
    ('"tRuE"', "String", "tRuE", 0.0, True),
    ('"f"', "String", "f", 0.0, False),
    ('"yes"', "String", "yes", 0.0, False),
    ('" 1"', "String", " 1", 0.0, False),
    ('"12"', "String", "12", 12.0, False),
    ('"-1.5e2"', "String", "-1.5e2", -150.0, False),
    ('"0x10"', "String", "0x10", 0.0, False),
    ('"0x1p4"', "String", "0x1p4", 16.0, False),
    ('"1_000"', "String", "1_000", 1000.0, False),
    ('"inf"', "String", "inf", INFINITE, False),
    ('"-Infinity"', "String", "-Infinity", -INFINITE, False),
    ('"nan"', "String", "nan", NOT_A_NUMBER, False),
    ('"1e999"', "String", "1e999", INFINITE, False),
    ('"1e"', "String", "1e", 0.0, False),
    ('"a\\u0000b"', "String", "a\x00b", 0.0, False),
    ('"\\ud83d\\ude00"', "String", "😀", 0.0, False),
    ('"\\ud83d"', "String", "�", 0.0, False),
    ('"\\ud83dx"', "String", "�x", 0.0, False),
    ('"\\ud83d\\u0041z"', "String", "�z", 0.0, False),
    ('"\\/\\b\\f\\n\\r\\t\\"\\\\"', "String", '/\x08\x0c\n\r\t"\\', 0.0, False),
    ("[ 1, 2 ]", "JSON", "[ 1, 2 ]", 0.0, False),
    ('{ "a" : 1 }', "JSON", '{ "a" : 1 }', 0.0, False),
    ("[]", "JSON", "[]", 0.0, False),
    ("{}", "JSON", "{}", 0.0, False),
]


def find(text: str, path: str) -> gjson.Result:
    return gjson.compile(path).get(Document(text.encode()))


@pytest.mark.parametrize(("path", "kind", "raw"), FOUND)
def test_a_path_finds_what_gjson_finds(path: str, kind: str | None, raw: str) -> None:
    result = find(DOCUMENT, path)

    assert (result.kind if result.exists else None, result.raw) == (kind, raw)


@pytest.mark.parametrize(("path", "kind", "raw"), FOUND_IN_TREE)
def test_a_plain_path_walks_the_tree_of_a_sound_document_to_the_same_end(path: str, kind: str | None, raw: str) -> None:
    document = Document(SOUND.encode())
    result = gjson.compile(path).get(document)

    assert (result.kind if result.exists else None, result.raw) == (kind, raw)
    assert document._tree is document.value


@pytest.mark.parametrize(("path", "kind", "raw"), FOUND_IN_LINES)
def test_two_dots_read_the_text_as_json_lines(path: str, kind: str | None, raw: str) -> None:
    result = find(LINES, path)

    assert (result.kind if result.exists else None, result.raw) == (kind, raw)


@pytest.mark.parametrize("around", ['{{"v":{}}}', '{{"v":{},"v":0}}'], ids=["tree", "text"])
@pytest.mark.parametrize(("value", "kind", "string", "number", "boolean"), READ_AS)
def test_a_value_reads_as_text_number_and_boolean_like_gjson(
    around: str, value: str, kind: str, string: str, number: float, boolean: bool
) -> None:
    result = find(around.format(value), "v")

    assert (result.kind, result.raw, result.string(), result.boolean()) == (kind, value, string, boolean)
    assert result.number() == pytest.approx(number, abs=0, rel=0, nan_ok=True)


@pytest.mark.parametrize("text", ['{"a":1,"a":2}', '{"a":1,"\\u0061":2}', '{"b":{},"a": 1 , "a" :2}'])
def test_the_first_of_equal_keys_wins_for_paths_and_the_last_for_the_whole_value(text: str) -> None:
    document = Document(text.encode())

    assert gjson.compile("a").get(document).value == 1
    assert document.value["a"] == 2


def test_of_equal_keys_inside_a_found_value_the_first_one_wins_too() -> None:
    assert find('{"a":{"x":1,"x":2},"b":[{"y":1,"y":-0}]}', "a").value == {"x": 1}
    assert find('{"b":[{"y":1,"y":2}]}', "b").value == [{"y": 1}]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"x"', "x"),
        ("[1, 2.5, null]", [1, 2.5, None]),
        ('{"a": {"b": [true]}}', {"a": {"b": [True]}}),
        ("12345678901234567890", 12345678901234567890),
        ("123456789012345678901", 123456789012345678901.0),
        ('"\\ud800"', "\ufffd"),
    ],
)
def test_the_value_of_a_result_is_a_python_value(text: str, value: object) -> None:
    result = find(f'{{"v":{text}}}', "v")

    assert result.value == value
    assert type(result.value) is type(value)


def test_minus_zero_keeps_its_sign() -> None:
    result = find('{"v":-0}', "v")

    assert (result.string(), math.copysign(1, result.number())) == ("-0", -1)


def test_a_document_of_a_value_has_the_text_that_go_writes() -> None:
    document = Document.of({"b": [1.0, "<"], "a": {"x": 1e21, "n": 3}})

    assert document.text == b'{"a":{"n":3,"x":1e+21},"b":[1,"\\u003c"]}'
    for path in ("a", "a.n", "a.x", "b", "b.0", "b.1", "b.2", "@this", "b.#", "a|n"):
        of_value = gjson.compile(path).get(document)
        of_text = gjson.compile(path).get(Document(document.text))
        for read in ("exists", "kind", "raw", "value"):
            assert getattr(of_value, read) == getattr(of_text, read), (path, read)
        assert (of_value.string(), of_value.number(), of_value.boolean()) == (
            of_text.string(),
            of_text.number(),
            of_text.boolean(),
        )


def test_a_document_of_a_value_makes_no_text_for_a_plain_path() -> None:
    document = Document.of({"a": {"b": "x"}, "not json": {1, 2}})

    assert gjson.compile("a.b").get(document).string() == "x"
    with pytest.raises(LangError, match="set"):
        _ = document.text


@pytest.mark.parametrize("text", ['"{\\"a\\":1}"', "5", "null", "", " ", "nonsense", '{"a":', '["a'])
def test_a_path_never_fails_whatever_the_text(text: str) -> None:
    for path in ("a", "0", "#", "a.b", "@this", "[a,b]", "#.a", "a|b", "..0", "@pretty", "@dig:a", "@keys"):
        find(text, path).string()


def test_the_value_of_a_document_that_is_no_json_is_a_lang_error_with_the_place() -> None:
    with pytest.raises(LangError) as caught:
        _ = Document(b'{"a": tru}').value

    assert caught.value.offset == 6


def test_bytes_that_are_not_utf_8_do_not_fail() -> None:
    result = gjson.compile("a").get(Document(b'{"a":"x\xff"}'))

    assert result.string() == "x\ufffd"


def test_nesting_beyond_measure_is_a_lang_error_only_where_it_must_be_followed() -> None:
    deep = "[" * 5_000 + "]" * 5_000

    assert find(deep, "#").number() == 1
    with pytest.raises(LangError, match="deeper"):
        find(deep, ".".join("0" * 3_000))


AWKWARD = ["a", "a.b", "a*", "?", "#", "@this", "{x}", "[0]", "!true", "a|b", "é", "x\\y", "..", "a b", "0"]


@pytest.mark.parametrize("key", AWKWARD)
def test_an_escaped_key_finds_exactly_that_key(key: str) -> None:
    text = json.dumps({"other": 1, key: {"deep": 2}, "x": 3})

    assert find(text, f"{gjson.escape(key)}.deep").value == 2


def test_a_glob_with_many_stars_ends_soon() -> None:
    text = gojson.dumps({"a" * 5_000: 1, "b": 2}).decode()

    assert not find(text, "a*" * 20 + "b").exists


def test_compiling_the_same_path_twice_gives_the_same_path() -> None:
    assert gjson.compile("a.b") is gjson.compile("a.b")
