"""The arrows of the house point one way (docs/architecture.md); this test walks all imports."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# From the top floor down; a module may import what is on a lower floor, or its own neighbours.
FLOORS = [
    ("plugins.server",),
    ("plugins.launch", "plugins.registry"),
    ("plugins",),
    ("cnilib.cnid",),
    ("cnilib.veth", "cnilib.container_link", "cnilib.labelled", "cnilib.mac", "cnilib.master"),
    ("cnilib.attach", "cnilib.ip_masq"),
    ("cnilib.plugin", "cnilib.delegate"),
    ("cnilib.request", "cnilib.netfilter"),
    ("cnilib.kernel",),
    ("cnilib.types", "cnilib.store", "cnilib.undo"),
    ("cnilib",),
]


def modules():
    for path in sorted([*ROOT.glob("cnilib/**/*.py"), *ROOT.glob("plugins/**/*.py")]):
        yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path


def imports(path):
    """Every module imported at run time; what is under ``if TYPE_CHECKING`` is not."""
    nodes = [ast.parse(path.read_text())]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        nodes.extend(ast.iter_child_nodes(node))


def floor(module):
    for height, names in enumerate(FLOORS):
        if any(module == name or module.startswith(f"{name}.") for name in names):
            return height
    return len(FLOORS)


def plugin_of(module):
    """``plugins.main.bridge`` for each module of the bridge plugin."""
    parts = module.split(".")
    return parts[:3] if parts[0] == "plugins" and len(parts) > 2 else None


@pytest.mark.parametrize(("module", "path"), [pytest.param(*m, id=m[0]) for m in modules()])
def test_imports_go_down(module, path):
    ours = [name for name in imports(path) if name.split(".")[0] in {"cnilib", "plugins"}]
    assert [name for name in ours if floor(name) < floor(module)] == []


@pytest.mark.parametrize(("module", "path"), [pytest.param(*m, id=m[0]) for m in modules()])
def test_a_plugin_imports_no_other_plugin(module, path):
    others = [
        name for name in imports(path) if plugin_of(name) and plugin_of(name) != plugin_of(module)
    ]
    assert not plugin_of(module) or others == []


@pytest.mark.parametrize(
    ("library", "home"),
    [("pyroute2", "cnilib.kernel"), ("nftables", "cnilib.netfilter")],
)
def test_a_library_is_imported_by_one_package_only(library, home):
    users = [
        module
        for module, path in modules()
        if any(name.split(".")[0] == library for name in imports(path))
        and not module.startswith(home)
    ]
    assert users == []
