"""The network as a drawing, from what the kernel says is there."""

import json
from typing import TYPE_CHECKING, Any

from tools.demo.runtime import run

if TYPE_CHECKING:
    from tools.demo.runtime import Container, Sandbox

_BOX, _GAP = 34, 4
_WIDTH = 2 * _BOX + _GAP
_MIDDLE = _WIDTH // 2
_WIRE = 29
_WIRES = (_WIRE, _WIRE + _BOX + _GAP)
"""The columns of the lines from the bridge to the two containers."""


def draw(outside: "Sandbox", containers: "list[Container]") -> str:
    """The world outside, the host with its bridge, and the two containers below."""
    links = {link["ifname"]: link for link in json.loads(run("ip", "-j", "address"))}
    ports = [veth for veth, link in links.items() if link.get("master") == "nerdctl0"]
    host_veths = [_host_veth(container, ports) for container in containers]
    published = [
        f"{port['protocol']} port {port['hostPort']} -> {container.address}:{port['containerPort']}"
        f" ({container.name})"
        for container in containers
        for port in container.ports
    ]
    margin = (_WIDTH - _BOX) // 2
    world = _box("the world outside", [f"eth0   {_address(outside)}"], _BOX)
    world[-1] = _joined(world[-1], "┬", _MIDDLE - margin)
    host = _box(
        "host (throw-away)",
        [
            f"uplink    {_addresses(links['uplink'])}   (masquerade for 10.4.0.0/24)",
            *(f"published {words}" for words in published),
            "",
            f"nerdctl0  {_addresses(links['nerdctl0'])}   bridge",
            *_ports(host_veths),
        ],
        _WIDTH,
    )
    host[0], host[-1] = _joined(host[0], "┴", _MIDDLE), _joined(host[-1], "┼", *_WIRES)
    lines = [*(" " * margin + line for line in world), _joined(" " * _WIDTH, "│", _MIDDLE)]
    lines += [*host, _joined(" " * _WIDTH, "│", *_WIRES)]
    boxes = [
        _box(
            f"container {container.name}",
            [
                f"eth0   {_address(container.sandbox)}",
                f"       {_mac(container.sandbox)}",
                f"route  default via {_gateway(container.sandbox)}",
            ],
            _BOX,
        )
        for container in containers
    ]
    for box in boxes:
        box[0] = _joined(box[0], "┴", _WIRE)
    lines += [left + " " * _GAP + right for left, right in zip(boxes[0], boxes[1], strict=True)]
    return "\n".join(lines)


def _ports(host_veths: list[str]) -> list[str]:
    """The wires from the bridge down to the lower border of the host's box."""
    first, last = (column - 2 for column in _WIRES)  # the border and a space stand before
    fork = _joined(" " * 2 + "└" + "─" * (last - 3) + "┐", "┬", first)
    names = "".join(
        f"{veth:>{column - start - 1}} │"
        for veth, start, column in zip(host_veths, (0, first + 1), (first, last), strict=True)
    )
    return [fork, names]


def _joined(line: str, mark: str, *columns: int) -> str:
    """A line with a mark where another one crosses or meets it."""
    characters = list(line)
    for column in columns:
        characters[column] = mark
    return "".join(characters).rstrip()


def _box(title: str, lines: list[str], width: int) -> list[str]:
    inner = width - 4
    top = f"╭─ {title} " + "─" * (width - len(title) - 5) + "╮"
    body = [f"│ {line[:inner]:{inner}} │" for line in lines]
    return [top, *body, "╰" + "─" * (width - 2) + "╯"]


def _addresses(link: dict[str, Any]) -> str:
    return " ".join(
        f"{address['local']}/{address['prefixlen']}"
        for address in link["addr_info"]
        if address["scope"] == "global"
    )


def _eth0(sandbox: "Sandbox") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sandbox.run("ip", "-j", "address", "show", "eth0"))[0]
    return found


def _address(sandbox: "Sandbox") -> str:
    return _addresses(_eth0(sandbox))


def _mac(sandbox: "Sandbox") -> str:
    return str(_eth0(sandbox)["address"])


def _gateway(sandbox: "Sandbox") -> str:
    return str(json.loads(sandbox.run("ip", "-j", "route", "show", "default"))[0]["gateway"])


def _host_veth(container: "Container", ports: list[str]) -> str:
    names = [interface["name"] for interface in container.result["interfaces"]]
    return next(name for name in names if name in ports)
