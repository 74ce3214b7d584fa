"""Names in any letters, of any code page, in either spelling."""

from __future__ import annotations

import unicodedata

import pytest

from mpkit.data.names import (
    composed,
    name_in_zip,
    name_of_file,
    of_class,
    one_line,
    read_name,
    spelt,
    steady,
)


@pytest.mark.parametrize("page", ["cp437", "cp850", "cp1252"])
@pytest.mark.parametrize(
    "name", ["Äpfel", "Mäuse", "naïve", "garçon", "señor", "Øl", "œuf", "Ångström"]
)
def test_western_names_are_read_in_the_code_page_that_has_them(page, name):
    try:
        raw = name.encode(page)
    except UnicodeEncodeError:
        return
    assert read_name(raw) == (name, True)


@pytest.mark.parametrize("name", ["Äpfel", "飞机", "кот", "🐱", "plain"])
def test_unicode_is_no_guess(name):
    assert read_name(name.encode()) == (name, False)
    assert name_of_file(name) == (name, False)
    assert name_in_zip(name.encode().decode("cp437"), utf8=False) == (name, False)
    assert name_in_zip(name, utf8=True) == (name, False)


def test_what_is_in_no_western_page_is_a_guess_without_an_error():
    for raw in ("飞机".encode("gbk"), "猫犬".encode("shift-jis"), bytes(range(128, 256))):
        text, guess = read_name(raw)
        assert guess
        assert text.encode()


def test_bytes_of_a_file_become_letters():
    assert name_of_file("caf\udce9") == ("café", True)


def test_what_a_zip_was_told_by_other_means_is_kept():
    assert name_in_zip("飞机", utf8=False) == ("飞机", False)


def test_one_spelling():
    for form in ("NFC", "NFD"):
        assert composed(unicodedata.normalize(form, "é")) == "\xe9"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (" a\n\tb ", "a b"),
        ("a\u2028b", "a b"),
        ("\u202eabc", "abc"),
        ("\u202e a \u200b b \u200b", "a b"),
        ("a\x00b\x7f", "ab"),
        ("e\u0301", "é"),
        ("x\udce9", "x"),
        ("$_猫", "$_猫"),
    ],
)
def test_one_line(text, line):
    assert one_line(text) == line


def test_what_steers_a_terminal_is_written_out():
    assert of_class("a\x1b[31m\n\x9b\u202e") == r"a\x1b[31m\n\x9b\u202e"
    assert steady("a\n\x07", "\n") == "a\n\\x07"
    family = "👨\u200d👩 a\u0301 می\u200cخواهم \\"
    assert of_class(of_class(family)) == of_class(family) == composed(family)


def test_letters_that_a_font_lacks_are_told_by_their_numbers():
    assert spelt("a 猫🐱", str.isascii) == "a [U+732B][U+1F431]"
    assert spelt("a b", lambda c: c != " ") == "a b"
