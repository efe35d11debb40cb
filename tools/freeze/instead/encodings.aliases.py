"""The interpreter loads this table in each start; we use the codecs by few of their 400 names."""

aliases = {
    "646": "ascii",
    "ansi_x3.4_1968": "ascii",
    "ansi_x3_4_1968": "ascii",
    "iso8859_1": "latin_1",
    "iso_8859_1": "latin_1",
    "latin1": "latin_1",
    "u8": "utf_8",
    "us_ascii": "ascii",
    "utf": "utf_8",
    "utf16": "utf_16",
    "utf8": "utf_8",
}
