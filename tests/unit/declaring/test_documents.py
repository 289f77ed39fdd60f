"""YAML and JSON as trees: what plain words mean, where things stand, and what is refused."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.cli.declaring.documents import MOST_VALUES, DocumentError, decoded, read_documents


def only(text: str) -> Any:
    """The data of a text's one document."""
    [document] = read_documents(text)
    return document.plain()


@pytest.mark.parametrize(
    "word",
    [
        "yes",
        "no",
        "on",
        "off",
        "12:30",
        "0123",
        "0o17",
        "0x1F",
        "1_000",
        "2026-01-31",
        "1e",
        ".5",
        "+1",
        "NULL",
        "=",
        ".inf",
    ],
)
def test_words_that_yaml_1_1_would_change_stay_as_they_are_written(word: str):
    """In lists, values and names."""
    assert only(f"- {word}") == [word]
    assert only(f"{word}: {word}") == {word: word}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("0", 0),
        ("-12", -12),
        ("1.50", 1.5),
        ("1e3", 1000.0),
    ],
)
def test_words_mean_what_they_mean_in_json(word: str, value: object):
    """Numbers, true, false and null; in quotes, they are text."""
    assert only(f"a: {word}") == {"a": value}
    assert only(f'a: "{word}"') == {"a": word}


def test_a_number_is_remembered_as_it_was_written():
    """So that a remedy shows what stands in the file."""
    [document] = read_documents("tag: 1.10")
    assert document.at("tag")[0].words() == "1.10"


def test_names_and_values_know_their_lines():
    """Also below names with dots, in lists, and where a path goes too far."""
    [document] = read_documents("jobs:\n- name: x\n  vars:\n    a.b: 1\n  list:\n  - 2\n  - 3\n")
    job = document.at("jobs.0")[0]
    assert [job.at(path)[1] for path in ("name", "vars.a.b", "list.1", "list.9", "nothing")] == [
        2,
        4,
        7,
        5,
        2,
    ]


def test_aliases_and_merges_are_followed():
    """An own value goes before a merged one."""
    text = "base: &base {A: '1', B: '2'}\nmine: {<<: *base, B: '3'}\nlist: {<<: [*base, {C: '4'}]}\n"
    assert only(text)["mine"] == {"A": "1", "B": "3"}
    assert only(text)["list"] == {"A": "1", "B": "2", "C": "4"}


def test_json_is_read_with_what_yaml_does_not_know():
    """Tabs before values, characters beyond the first plane as two escapes, and line breaks of Unicode in texts."""
    assert only('{"a": "x\u2028\x85y"}') == {"a": "x\u2028\x85y"}
    assert only('{\n\t"a":\t"\\ud83d\\ude00",\n\t"b": [1, 2.5, null, true]}') == {
        "a": "😀",
        "b": [1, 2.5, None, True],
    }


def bomb() -> str:
    """Ten to the twelfth words, in a dozen lines."""
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: 1\nb: 2\na: 3", 3, "'a' is set twice"),
        ('{"a":\t1, "a": 2}', None, "'a' is set twice"),
        ("a: 1\nb: *c", 2, "the alias *c has no anchor"),
        ("a: &a [*a]", 1, "the alias *a contains itself"),
        ("x: !!python/object/apply:os.system [ls]", 1, "is not supported"),
        ("x: !Ref y", 1, "is not supported"),
        ("x: !!int y", 1, "'y' is not of the type int"),
        ("x: !!map y", 1, "does not match its value"),
        ("a:\n  - b\n c: d", 3, "is not valid YAML"),
        ("a: [1,", 2, "is not valid YAML"),
        ("a: b: c", 1, "mapping values are not allowed"),
        ("? [a]\n: b", 1, "is not text"),
        ("a: {<<: 5}", 1, "merges a value that is not a mapping"),
        ("[" * 100, 1, "nested deeper"),
        ('{"a":\t' * 100, None, ""),
        ("a: \x07", None, "control characters"),
        (bomb(), None, f"more than {MOST_VALUES} values"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_its_line(text: str, line: int | None, said: str):
    """And quickly, however large it would become."""
    with pytest.raises(DocumentError) as refusal:
        read_documents(text)
    assert said in refusal.value.message
    assert line is None or refusal.value.line == line


def test_bytes_are_utf_8_with_or_without_a_mark():
    """Anything else is refused with the line where it stands."""
    assert decoded("\ufeffä".encode()) == "ä"
    with pytest.raises(DocumentError, match="0xe4 is not valid UTF-8") as refusal:
        decoded(b"a: b\nc: \xe4")
    assert refusal.value.line == 2
    with pytest.raises(DocumentError, match="NUL") as refusal:
        decoded(b"a\n\n\x00")
    assert refusal.value.line == 3


@settings(deadline=None)
@given(st.text(alphabet="ab:-[]{},'\"!&*<|>#% \n\t?~0.", max_size=60))
def test_no_text_breaks_the_reader(text: str):
    """It is read or refused."""
    with contextlib.suppress(DocumentError):
        for document in read_documents(text):
            document.plain()
