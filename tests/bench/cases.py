"""What is measured: each case yields figures, taken from all sides in turn."""

import os
import statistics
from typing import NamedTuple

from tests.lab.nerdctl import CHAIN

SCALE = (0, 100, 1000, 5000)
MOST_COLD = 1000
"""Beyond that a host is filled with cnid only: without, and by the reference, it takes an hour."""

_HOST_LOCAL = {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/16"}]]}
_ROUTES = [{"dst": "0.0.0.0/0"}]
PTP = [
    {"type": "ptp", "ipMasq": True, "ipam": _HOST_LOCAL | {"routes": _ROUTES}},
    {"type": "portmap", "capabilities": {"portMappings": True}},
]
"""containerd's own default network."""

BRIDGE_ALONE = [{"type": "bridge", "isGateway": True, "ipam": _HOST_LOCAL | {"routes": _ROUTES}}]
"""No masquerade, no ports, no policy: what the reference does without starting iptables."""

FILTERS = [{"type": "portmap", "capabilities": {"portMappings": True}}, {"type": "firewall"}]


class Figures(NamedTuple):
    """Values of one row: side name -> the measured values, all in ``unit``."""

    case: str
    row: str
    unit: str
    values: dict

    def median(self, side):
        return statistics.median(self.values[side]) if self.values.get(side) else None

    def spread(self, side):
        """Half the distance between the quartiles."""
        if len(self.values[side]) < 4:
            return 0.0
        low, _, high = statistics.quantiles(self.values[side], n=4)
        return (high - low) / 2


class Table(list):
    """Figures in the order in which their rows appeared."""

    def take(self, case, row, unit, side, value):
        """Add one value."""
        for figures in self:
            if (figures.case, figures.row) == (case, row):
                figures.values.setdefault(side, []).append(value)
                return
        self.append(Figures(case, row, unit, {side: [value]}))

    def find(self, case, row):
        """The figures of a row, or None."""
        return next((f for f in self if (f.case, f.row) == (case, row)), None)


def chain(table, sides, rounds, case, plugins):
    """ADD and DEL of one container's chain, each plugin and the sum."""
    sides = [side for side in sides if all(side.has(plugin["type"]) for plugin in plugins)]
    for number in range(rounds + 1):  # the first round fills caches
        for side in sides:
            calls = side.do("cycle", chain=plugins, name=f"c{number}")
            if number == 0:
                continue
            for call in calls:
                table.take(case, call["call"], "ms", side.name, call["ms"])
            for command in ("ADD", "DEL"):
                total = sum(c["ms"] for c in calls if c["call"].startswith(command))
                table.take(case, f"{command}, whole chain", "ms", side.name, total)
            total = sum(call["ms"] for call in calls)
            table.take(case, "ADD + DEL, whole chain", "ms", side.name, total)
            memory = max(call["kb"] for call in calls) / 1024
            table.take("memory", f"largest process of: {case}", "MiB", side.name, memory)


def default_chain(table, sides, rounds):
    """nerdctl's default network."""
    chain(table, sides, rounds, "nerdctl's default chain", CHAIN)


def containerd_chain(table, sides, rounds):
    """containerd's default network."""
    chain(table, sides, rounds, "containerd's default chain (ptp)", PTP)


def bridge_alone(table, sides, rounds):
    """A bridge without masquerade."""
    chain(table, sides, rounds, "bridge without ipMasq", BRIDGE_ALONE)


def versions(table, sides, rounds):
    """VERSION of every plugin, and a Python that does nothing."""
    case = "VERSION"
    for side in sides:
        if side.cnid:
            continue  # VERSION is never handed over
        plugins = [
            name
            for name in sorted(os.listdir(side.directory))
            if os.path.isfile(f"{side.directory}/{name}") and name != "cnid"
        ]
        for call in side.do("versions", plugins=plugins, rounds=rounds):
            plugin = call["call"].split()[1]
            table.take(case, plugin, "ms", side.name, call["ms"])
            table.take(case, "every plugin", "ms", side.name, call["ms"])
        python = ["/usr/bin/python3", "-I", "-S", "-c", "pass"]
        for call in side.do("programs", words=python, rounds=rounds):
            table.take(case, "python3 -I -S -c pass", "ms", side.name, call["ms"])


def at_once(table, sides, rounds):
    """50 containers at the same time."""
    for _ in range(max(1, rounds // 8)):
        for side in sides:
            for call in side.do("many", chain=CHAIN, count=50):
                row = f"{call['call']}, containers a second"
                table.take("50 containers at once", row, "1/s", side.name, 50_000 / call["ms"])


def scale(table, sides, rounds):
    """portmap and firewall with many attachments present."""
    for side in sides:
        present = 0
        for wanted in SCALE:
            if not side.cnid and wanted > MOST_COLD:
                continue
            side.do("populate", chain=FILTERS, first=present, count=wanted - present)
            present = wanted
            _with_present(table, side, rounds, present)


def _with_present(table, side, rounds, present):
    commands = ["ADD", "DEL"] if side.name == "reference" else ["ADD", "CHECK", "DEL"]
    for number in range(rounds + 1):
        calls = side.do("on_paper", chain=FILTERS, number=20_000 + number, commands=commands)
        if number == 0:
            continue
        for command in commands:
            total = sum(c["ms"] for c in calls if c["call"].startswith(command))
            row = f"portmap + firewall {command}, {present} present"
            table.take("scale", row, "ms", side.name, total)
    for plugin in FILTERS:
        conf = {"cniVersion": "1.1.0", "name": "bench", "type": plugin["type"]}
        if side.name != "reference":  # its GC does nothing
            for call in side.do("collect", conf=conf, count=present):
                row = f"{plugin['type']} GC, {present} present, all valid"
                table.take("scale", row, "ms", side.name, call["ms"])
                if not side.cnid:
                    row = f"{plugin['type']} GC, {present} present"
                    table.take("memory", row, "MiB", side.name, call["kb"] / 1024)
    if side.cnid:
        resident, own = side.resident()
        for what, kib in (("resident", resident), ("its own (PSS)", own)):
            row = f"cnid, {what}, {present} present"
            table.take("memory", row, "MiB", side.name, kib / 1024)


def full_range(table, sides, rounds):
    """host-local in a /16 of which 90 % is given away."""
    conf = {"cniVersion": "1.0.0", "name": "full", "type": "host-local", "ipam": _HOST_LOCAL}
    fill = (
        "import os; d = '/var/lib/cni/networks/full'; os.makedirs(d)\n"
        "for n in range(2, int(65536 * 0.9)):\n"
        "    with open(f'{d}/10.1.{n >> 8}.{n & 255}', 'w', newline='') as f:\n"
        "        f.write(f'paper{n}\\r\\neth0')\n"
    )
    for side in sides:
        side.host.run("python3", "-c", fill)
    for number in range(rounds + 1):
        for side in sides:
            for command in ("ADD", "DEL"):
                (call,) = side.do("single", command=command, conf=conf, name=f"f{number}")
                if number:
                    row = f"host-local {command}"
                    table.take("a /16, 90 % full", row, "ms", side.name, call["ms"])


def sizes(table, sides, _rounds):
    """What an installation takes on the disk."""
    for side in sides:
        total = sum(
            os.lstat(f"{where}/{name}").st_blocks * 512
            for where, _, files in os.walk(side.directory)
            for name in files
        )
        table.take("size", "all plugins, installed", "MB", side.name, total / 1e6)


CASES = {
    "chain": default_chain,
    "containerd": containerd_chain,
    "bridge": bridge_alone,
    "version": versions,
    "many": at_once,
    "range": full_range,
    "size": sizes,
    "scale": scale,  # last: it fills the hosts
}
