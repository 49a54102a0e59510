"""Documents that databases take."""

import json
import math
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantbot_pipeline.storage.json_text import storable_parameters, storable_text, to_json_text


def test_a_plain_document_keeps_its_order_and_its_floats() -> None:
    assert to_json_text({"b": 1e-15, "a": [0.1, None, True]}) == '{"b":1e-15,"a":[0.1,null,true]}'


def test_values_that_json_lacks_become_text_that_can_be_read_back() -> None:
    text = to_json_text({"x": [float("nan"), float("inf"), -float("inf")]})
    assert json.loads(text) == {"x": ["NaN", "Infinity", "-Infinity"]}
    assert [math.isnan(float(value)) for value in json.loads(text)["x"]] == [True, False, False]


def test_characters_that_postgres_refuses_become_visible_in_keys_and_values() -> None:
    assert json.loads(to_json_text({"a\x00": ["\ud800b", ("c\x00",)]})) == {"a␀": ["�b", ["c␀"]]}


def test_the_text_of_an_escape_is_left_alone() -> None:
    # Six characters, not the character U+0000.
    assert json.loads(to_json_text({"a": "\\u0000"})) == {"a": "\\u0000"}


def test_emoji_and_read_only_mappings_pass() -> None:
    assert to_json_text(MappingProxyType({"🚀": "漢"})) == '{"🚀":"漢"}'


def test_texts_of_parameters_are_what_is_stored_and_all_else_stays() -> None:
    found = storable_parameters({"name": "\udcff", "names": ["a\x00", "b"], "limit": 3, "score": math.inf, "no": None})
    assert found == {"name": "\ufffd", "names": ["a\u2400", "b"], "limit": 3, "score": math.inf, "no": None}


def test_what_has_no_json_form_is_an_error() -> None:
    with pytest.raises(TypeError):
        to_json_text({"a": {1, 2}})


@given(st.text(st.characters()))
def test_storable_text_can_always_be_encoded(text: str) -> None:
    stored = storable_text(text)
    assert "\x00" not in stored
    stored.encode("utf-8")
    assert storable_text(stored) == stored
    assert len(stored) == len(text)
