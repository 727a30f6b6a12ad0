"""A JSON text is edited member by member: what is not changed keeps its bytes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zuplo_origin.dev.json_edit import MISSING, JsonText

TEXT = '{\n    "a" : 1.10,\n    "b": {"c": [1,2],  "d": "\\u00e9"},\n\n    "e": {\n        "f": null\n    }\n}\n'


def edited(text=TEXT):
    return JsonText(text)


def test_set_replaces_only_the_value():
    text = edited()
    text.set(["b", "d"], "é")

    assert text.text == TEXT.replace('"\\u00e9"', '"é"')


def test_set_adds_a_member_in_the_style_of_its_object():
    text = edited()
    text.set(["b", "x"], {"y": True})
    text.set(["e", "g"], {"h": [1]})

    expected = TEXT.replace('"\\u00e9"}', '"\\u00e9", "x": {"y": true}}').replace(
        '"f": null\n',
        '"f": null,\n        "g": {\n            "h": [\n                1\n            ]\n        }\n',
    )
    assert text.text == expected


def test_insert_adds_a_member_in_front_of_another_in_the_style_of_its_object():
    text = edited()
    text.insert(["b", "x"], {"y": [1]}, before="d")
    text.insert(["z"], {"h": 1}, before="a")

    expected = TEXT.replace('"d": ', '"x": {"y": [1]},"d": ').replace(
        '{\n    "a"', '{\n    "z": {\n        "h": 1\n    },\n    "a"', 1
    )
    assert text.text == expected.replace('},"d"', '}, "d"')


def test_set_adds_the_objects_on_the_way():
    text = edited("{}")
    text.set(["a", "b", "c"], 1)

    assert text.text == '{\n  "a": {\n    "b": {\n      "c": 1\n    }\n  }\n}'


def test_remove_takes_the_comma_of_a_member():
    for path in (["a"], ["b"], ["e"], ["e", "f"], ["b", "c"], ["b", "d"]):
        text = edited()
        text.remove(path)
        assert text.get(path) is MISSING
        assert json.loads(text.text) == text.value

    text = edited()
    text.remove(["missing", "member"])
    assert text.text == TEXT


def test_update_changes_what_differs_and_keeps_extensions():
    source = '{"r": {"200": {"description": "OK", "x-zuplo": [1]},   "404": {}}, "x-own": 1}'
    text = edited(source)
    text.update(["r"], {"200": {"description": "Done."}})

    assert text.text == '{"r": {"200": {"description": "Done.", "x-zuplo": [1]}}, "x-own": 1}'
    unchanged = edited(source)
    unchanged.update(["r"], {"200": {"description": "OK"}, "404": {}})
    assert unchanged.text == source


def test_true_is_not_one():
    text = edited('{"a": 1}')
    text.update(["a"], True)
    assert text.text == '{"a": true}'


def test_append_adds_to_an_array():
    for source, expected in [
        ('{"a": []}', '{"a": [\n    1\n  ]}'),
        ('{"a": [0]}', '{"a": [0, 1]}'),
        ('{\n\t"a": [\n\t\t0\n\t]\n}', '{\n\t"a": [\n\t\t0,\n\t\t1\n\t]\n}'),
    ]:
        text = edited(source)
        text.append(["a"], 1)
        assert text.text == expected


def test_member_in_an_array_is_edited():
    text = JsonText('{"a": [1, [{}], {"b": {"c": "d"},  "e":[2]}]}')
    assert text.get(["a", 2, "b", "c"]) == "d" and text.get(["a", 0]) == 1
    assert [text.get(["a", *each]) for each in ([3], ["b"], [2, 0], [0, 0])] == [MISSING] * 4

    text.set(["a", 2, "b", "x"], True)
    text.set(["a", 1, 0, "y"], 3)
    text.remove(["a", 2, "e"])
    assert text.value == {"a": [1, [{"y": 3}], {"b": {"c": "d", "x": True}}]}
    assert '{"b": {"c": "d", "x": true}}' in text.text


def test_line_ends_tabs_and_a_byte_order_mark_are_kept():
    text = edited('\ufeff{\r\n\t"a": 1\r\n}\r\n')
    text.set(["b"], {"c": 2})

    assert text.text == '\ufeff{\r\n\t"a": 1,\r\n\t"b": {\r\n\t\t"c": 2\r\n\t}\r\n}\r\n'


@pytest.mark.parametrize(
    "text", ["", "[]", "1", "{", '{"a": 1,}', '{"a": 1, "a": 2}', '{"a": {"b": 1, "b": 1}}', "// c\n{}"]
)
def test_text_that_is_not_an_object_is_an_error(text):
    with pytest.raises(ValueError):
        JsonText(text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=3), VALUES, max_size=4)


@given(OBJECTS, OBJECTS, st.sampled_from([None, 1, "\t"]))
def test_update_makes_any_object_equal_to_any_other(one, other, indent):
    text = JsonText(json.dumps({"it": one, "rest": one}, indent=indent))
    text.update(["it"], other)

    kept = {name: value for name, value in one.items() if name.startswith("x-") and name not in other}
    assert json.loads(text.text) == text.value
    assert text.value["rest"] == one
    if not kept and "x-" not in json.dumps(one):
        assert json.dumps(text.value["it"], sort_keys=True) == json.dumps(other, sort_keys=True)
