"""ADD and DEL of nerdctl's default network: ours and the reference, in turn, in one run.

``python -m tests.bench.chain [ROUNDS [DIRECTORY ...]]`` prints the median of each plugin and of the
whole chain in milliseconds. Each directory gets a throw-away host of its own; what is timed is the
plugin's process alone, started from within that host.
"""

import json
import os
import statistics
import subprocess
import sys
import time

from tests.lab.host import Host
from tests.lab.nerdctl import CHAIN, published

OURS, REFERENCE = "dist/cni/bin", "/usr/lib/cni"
COMMANDS = ("ADD", "DEL")


def main():
    """Rounds alternate between the directories, so that a busy machine is unfair to none."""
    if sys.argv[1:2] == ["--inside"]:
        inside(*sys.argv[2:])
        return
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    directories = [os.path.abspath(name) for name in sys.argv[2:] or (OURS, REFERENCE)]
    benches = [Bench(directory) for directory in directories]
    for number in range(rounds + 1):  # the first round fills caches
        for bench in benches:
            bench.round(number)
    report([bench.medians() for bench in benches], directories, rounds)
    for bench in benches:
        bench.close()


class Bench:
    """A host with one directory of plugins, and a process in it that calls them."""

    def __init__(self, directory):
        self._host = Host(directory)
        self._caller = subprocess.Popen(
            self._host.command(sys.executable, "-m", "tests.bench.chain", "--inside", directory),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.getcwd()},
        )
        self._times = {}

    def round(self, number):
        """One container: added, deleted, each call timed."""
        self._caller.stdin.write(f"{number}\n")
        self._caller.stdin.flush()
        times = json.loads(self._caller.stdout.readline())
        if number:
            for name, milliseconds in times.items():
                self._times.setdefault(name, []).append(milliseconds)

    def medians(self):
        return {name: statistics.median(values) for name, values in self._times.items()}

    def close(self):
        self._caller.communicate()
        self._host.close()


def report(columns, directories, rounds):
    """A table, and how many times as long the first column takes as the last."""
    print(f"median of {rounds} rounds, ms".ljust(28), *(d[-16:].rjust(16) for d in directories))
    for name in columns[0]:
        values = [column[name] for column in columns]
        ratio = f"{values[0] / values[-1]:8.2f} x" if len(values) > 1 else ""
        print(name.ljust(28), *(f"{value:16.1f}" for value in values), ratio)


def inside(directory):
    """Read numbers from stdin; answer each with the times of one container's calls."""
    for line in sys.stdin:
        print(json.dumps(one_container(directory, f"bench{line.strip()}")), flush=True)


def one_container(directory, name):
    """The times of ADD and DEL of each plugin, in milliseconds."""
    subprocess.run(["ip", "netns", "add", name], check=True)
    runtime, result, times = published(8080, 80), None, {}
    for command in COMMANDS:
        chain = CHAIN if command == "ADD" else CHAIN[::-1]
        for plugin in chain:
            conf = {"cniVersion": "1.0.0", "name": "bridge", **plugin}
            if "capabilities" in plugin:
                conf["runtimeConfig"] = runtime
            if result:
                conf["prevResult"] = result
            answer, milliseconds = call(directory, command, conf, name)
            times[f"{command} {plugin['type']}"] = milliseconds
            result = json.loads(answer) if answer else result
        times[f"{command} of the chain"] = sum(
            value for key, value in times.items() if key.startswith(f"{command} ")
        )
    subprocess.run(["ip", "netns", "del", name], check=True)
    return times


def call(directory, command, conf, name):
    """What a plugin prints, and how long that took."""
    environ = {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": name,
        "CNI_NETNS": f"/run/netns/{name}",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": directory,
        "PATH": os.environ["PATH"],
    }
    started = time.perf_counter()
    done = subprocess.run(
        [f"{directory}/{conf['type']}"],
        input=json.dumps(conf).encode(),
        stdout=subprocess.PIPE,
        check=True,
        env=environ,
    )
    return done.stdout, 1000 * (time.perf_counter() - started)


if __name__ == "__main__":
    main()
