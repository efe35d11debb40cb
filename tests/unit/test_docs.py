"""The pages tell the keys that the models have."""

from plugins.launch import load
from plugins.registry import PLUGINS
from tests.conftest import ROOT
from tools.docs import keys_table, with_keys


def test_every_plugin_has_a_page_with_its_keys():
    pages = {name: (ROOT / "docs" / f"{name}.md").read_text() for name in PLUGINS}
    written = {name: with_keys(page, keys_table(load(name).conf)) for name, page in pages.items()}
    assert pages == written


def test_every_key_of_a_page_has_a_meaning():
    rows = [row for name in PLUGINS for row in keys_table(load(name).conf).splitlines()]
    assert [row for row in rows if row.endswith("|  |")] == []
