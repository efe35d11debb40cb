"""``python -m tools.demo dist/cni/bin``: the whole life of two containers, step by step.

The demo runs itself a second time in a network and a mount namespace of its own. That copy is the
host: bridge, firewall and state files exist only there and vanish with it. The first copy looks at
the machine's own network before and after, and compares.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tools.demo.picture import draw
from tools.demo.runtime import Container, DemoError, Sandbox, Step, run

if TYPE_CHECKING:
    from collections.abc import Callable

_INSIDE = "CNI_DEMO_INSIDE"
_PORT = {"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": ""}
_PATIENCE = 10.0
_PAGE_SERVER = """
import http.server, sys
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = f"hello {self.client_address[0]}, this is {sys.argv[1]}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *words): pass
http.server.ThreadingHTTPServer(("", int(sys.argv[2])), Page).serve_forever()
"""
_FETCH = """
import sys, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
print(opener.open(sys.argv[1], timeout=5).read().decode())
"""

console = Console(highlight=False, width=max(80, min(shutil.get_terminal_size().columns, 100)))


def main() -> int:
    """Show it; 0 when everything worked and nothing was left behind."""
    binaries = os.path.abspath(sys.argv[1])
    os.environ["PATH"] += ":/usr/sbin:/sbin"  # su keeps the user's, without them
    try:
        if os.environ.get(_INSIDE):
            return inside(binaries)
        return outside(binaries)
    except DemoError as failure:
        console.print(f"[bold red]failed:[/] {escape(str(failure))}")
        return 1


def outside(binaries: str) -> int:
    """Run the demo in namespaces of its own and compare the machine's network with before."""
    if os.geteuid() != 0:
        raise DemoError("network namespaces need root: run it as root")
    before = machine()
    started = time.perf_counter()
    done = subprocess.run(
        [
            *("unshare", "--net", "--mount", "--propagation", "private"),
            *(sys.executable, "-m", "tools.demo", binaries),
        ],
        env=os.environ | {_INSIDE: "1"},
        check=False,
    )
    changed = [name for name, state in machine().items() if state != before[name]]
    heading("The machine's own network, before and after")
    for name in before:
        verdict(name, "changed" if name in changed else "as it was", bad=name in changed)
    console.print(f"\n{time.perf_counter() - started:.1f} s in all")
    return done.returncode or int(bool(changed))


def machine() -> dict[str, str]:
    """What the demo must leave alone."""
    commands = {
        "links": ["ip", "-o", "link"],
        "addresses": ["ip", "-br", "address"],
        "routes": ["ip", "route", "show", "table", "all"],
        "namespaces": ["ip", "netns", "list"],
        "nftables": ["nft", "--stateless", "list", "ruleset"],
        "sysctls": ["sysctl", "net.ipv4.ip_forward", "net.ipv4.conf.all.route_localnet"],
    }
    state = {name: run(*words) for name, words in commands.items()}
    state["state files"] = " ".join(
        sorted(
            os.path.join(where, name)
            for where, _, names in os.walk("/var/lib/cni")
            for name in names
        )
    )
    return state


def inside(binaries: str) -> int:
    """The demo itself, on a host that nobody else sees."""
    with contextlib.ExitStack() as cleanup:
        world = prepare_host(cleanup)
        web = Container("web", binaries, [_PORT])
        cleanup.callback(web.sandbox.stop)
        client = Container("client", binaries, [])
        cleanup.callback(client.sandbox.stop)
        for container in (web, client):
            heading(f"ADD {container.name}: the chain of nerdctl's default network")
            show_steps(container.add(), describe_add(container))
        serve_page(web.sandbox, "container web")
        serve_page(world, "the world outside")
        heading("The network")
        console.print(draw(world, [web, client]), markup=False, style="cyan")
        worked = show_traffic(world, web, client)
        for container in (client, web):
            heading(f"DEL {container.name}: its process has ended, so its namespace is gone")
            show_steps(container.delete(), describe_delete(container))
        return int(not (show_leftovers([web, client]) and worked))


def prepare_host(cleanup: contextlib.ExitStack) -> Sandbox:
    """State directories and /sys of our own, and an uplink to a namespace that plays the world."""
    for directory in ("/run", "/var/lib"):
        run("mount", "-t", "tmpfs", "tmpfs", directory)
    run("mount", "-t", "sysfs", "sysfs", "/sys")
    run("ip", "link", "set", "lo", "up")
    world = Sandbox("world")
    cleanup.callback(world.stop)
    run(
        "ip",
        "link",
        "add",
        "uplink",
        "type",
        "veth",
        "peer",
        "name",
        "eth0",
        "netns",
        str(world.pid),
    )
    run("ip", "address", "add", "203.0.113.1/24", "dev", "uplink")
    run("ip", "link", "set", "uplink", "up")
    run("ip", "route", "add", "default", "via", "203.0.113.2")
    world.run("ip", "address", "add", "203.0.113.2/24", "dev", "eth0")
    world.run("ip", "link", "set", "eth0", "up")
    return world


def describe_add(container: Container) -> "Callable[[Step], str]":
    """What each plugin of the chain did, in a few words."""

    def describe(step: Step) -> str:
        if step.plugin == "bridge":
            _, port, _ = (interface["name"] for interface in step.result["interfaces"])
            (address,) = step.result["ips"]
            return f"{port}, eth0, {address['address']} from host-local"
        if step.plugin == "portmap":
            ports = [f"{port['hostPort']} -> {port['containerPort']}" for port in container.ports]
            return f"host port {', '.join(ports)}" if ports else "no port to publish"
        if step.plugin == "firewall":
            return "replies and published ports pass, other bridges do not"
        return "nothing to change"

    return describe


def describe_delete(container: Container) -> "Callable[[Step], str]":
    """What each plugin took back; the links of a namespace have gone with it."""
    words = {
        "bridge": f"veth gone, {container.address} free again, masquerading ended",
        "portmap": "host port closed" if container.ports else "no port to close",
        "firewall": f"{container.address} has no way through any more",
        "tuning": "nothing to restore",
    }
    return lambda step: words[step.plugin]


def show_steps(steps: list[Step], describe: "Callable[[Step], str]") -> None:
    """One line for each plugin that ran."""
    table = Table.grid(padding=(0, 2))
    for step in steps:
        table.add_row(f"  {step.plugin}", f"[cyan]{step.milliseconds:6.1f} ms[/]", describe(step))
    total = sum(step.milliseconds for step in steps)
    table.add_row("  [bold]all[/]", f"[bold cyan]{total:6.1f} ms[/]", "")
    console.print(table)


def serve_page(sandbox: Sandbox, name: str) -> None:
    """Start a web server on port 80 of a namespace and wait until it answers there."""
    sandbox.start(sys.executable, "-c", _PAGE_SERVER, name, "80")
    patiently(lambda: sandbox.run(sys.executable, "-c", _FETCH, "http://127.0.0.1/"))


def patiently(attempt: "Callable[[], str]") -> str:
    """Try again for some seconds; a server needs time to start, a dead namespace to go away."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return attempt()
        except DemoError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def show_traffic(world: Sandbox, web: Container, client: Container) -> bool:
    """Packets in every direction that matters; whether all arrived."""
    heading("Traffic (a page greets the address that asks for it)")
    page = f"{web.address}:80"

    def ping(source: Sandbox, target: str) -> "Callable[[], str]":
        words = ("ping", "-c1", "-W2", target)
        return lambda: f"answered in {source.run(*words).partition('time=')[2].splitlines()[0]}"

    def fetch(source: Sandbox | None, address: str) -> "Callable[[], str]":
        words = (sys.executable, "-c", _FETCH, f"http://{address}/")
        return lambda: (source.run(*words) if source else run(*words)).strip()  # noqa: PLW0108

    tries = [
        ("client pings web", ping(client.sandbox, web.address)),
        ("web pings client", ping(web.sandbox, client.address)),
        ("client fetches web's page", fetch(client.sandbox, page)),
        ("the world fetches port 8080 of the host", fetch(world, "203.0.113.1:8080")),
        ("the host fetches 127.0.0.1:8080", fetch(None, "127.0.0.1:8080")),
        ("client fetches port 8080 of the host", fetch(client.sandbox, "10.4.0.1:8080")),
        ("client fetches a page of the world", fetch(client.sandbox, "203.0.113.2")),
    ]
    worked = [show_try(words, attempt) for words, attempt in tries]
    return all(worked)


def show_try(words: str, attempt: "Callable[[], str]") -> bool:
    """Run one of them; whether it worked."""
    try:
        said = attempt()
    except DemoError as failure:
        verdict(words, str(failure).splitlines()[-1], bad=True)
        return False
    verdict(words, said)
    return True


def show_leftovers(containers: list[Container]) -> bool:
    """Whether the two are gone without a trace."""
    heading("What is left")
    with contextlib.suppress(DemoError):  # it is in the table below
        patiently(no_veth_left)
    rules = run("nft", "list", "ruleset")
    leases = "/var/lib/cni/networks/bridge"
    found = {
        "veth links": veths(),
        "addresses in use": [name for name in sorted(os.listdir(leases)) if name[0].isdigit()],
        "nftables elements and rules": [
            line.strip()
            for line in rules.splitlines()
            if any(container.id in line or container.address in line for container in containers)
        ],
    }
    for name, left in found.items():
        verdict(name, ", ".join(left) or "none", bad=bool(left))
    return not any(found.values())


def no_veth_left() -> str:
    """Fail while a container's link is there."""
    if left := veths():
        raise DemoError(f"still there: {', '.join(left)}")
    return ""


def veths() -> list[str]:
    """The links that are neither the host's own nor the bridge, which stays for the next."""
    names = [link["ifname"] for link in json.loads(run("ip", "-j", "link"))]
    return [name for name in names if name not in {"lo", "uplink", "nerdctl0"}]


def heading(text: str) -> None:
    """Begin a part."""
    console.print(f"\n[bold]{text}[/]")


def verdict(what: str, said: str, *, bad: bool = False) -> None:
    """One line: a tick or a cross, what was tried, what came of it."""
    mark = "[red]✗[/]" if bad else "[green]✓[/]"
    console.print(f"  {mark} {what:40} [dim]{escape(said)}[/]", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
