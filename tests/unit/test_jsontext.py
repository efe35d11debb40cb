"""JSON as Go reads and writes it."""

import pytest

from cnilib import jsontext
from cnilib.errors import DecodeError


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b'{"a":1} x', b'\xef\xbb\xbf{"a":1}', b'{"a":NaN}', b"[1]", b'"a"', b"7", b"true"],
)
def test_anything_but_one_object_is_a_decode_error(text):
    with pytest.raises(DecodeError, match="error parsing the document"):
        jsontext.load_object(text, "the document")


def test_null_is_an_empty_object():
    assert jsontext.load_object(b" null\n", "the document") == {}


def test_ten_thousand_levels_are_an_error_and_no_crash():
    text = b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
    with pytest.raises(DecodeError, match="nested too deeply"):
        jsontext.load_object(text, "the document")


def test_invalid_utf8_becomes_the_replacement_character():
    assert jsontext.load_object(b'{"a":"x\xff"}', "d") == {"a": "x\ufffd"}


def test_a_lone_surrogate_becomes_the_replacement_character():
    assert jsontext.load_object(b'{"a":"x\\ud800y\xc3\xa4"}', "d") == {"a": "x\ufffdyä"}


def test_of_duplicate_keys_the_last_in_document_order_counts():
    document = jsontext.load_object(b'{"name":"a","NAME":"b","name":"c"}', "d")
    assert jsontext.find(document, "name") == "c"


def test_null_does_not_replace_an_earlier_value():
    document = jsontext.load_object(b'{"name":"a","Name":null}', "d")
    assert jsontext.find(document, "name") == "a"


def test_keys_fold_simply_so_sharp_s_is_not_double_s():
    assert jsontext.find({"addre\u017f\u017f": 1}, "address") == 1
    assert jsontext.find({"addre\u00df": 1}, "address") is None


def test_html_characters_are_written_as_escapes_and_the_rest_raw():
    assert jsontext.dump({"m": "<ä>&\u2028"}) == (
        b'{\n    "m": "\\u003c\xc3\xa4\\u003e\\u0026\\u2028"\n}'
    )


def test_a_compact_document_has_no_blanks_and_the_same_escapes():
    text = jsontext.dump({"b": [1, {"x": "<"}], "a": None}, sort_keys=True, compact=True)
    assert text == b'{"a":null,"b":[1,{"x":"\\u003c"}]}'
