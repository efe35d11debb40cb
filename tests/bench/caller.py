"""Inside a throw-away host: calls plugins as a runtime does and times each process.

``python -m tests.bench.caller DIRECTORY`` reads one job a line from stdin, as JSON, and answers
each with a list of calls. Only the process is timed, from its start to its end (posix_spawn to
wait4); namespaces are made and removed outside of that.
"""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor


class Caller:
    """Runs the plugins of one directory."""

    def __init__(self, directory):
        self._directory = directory

    def run(self, job):
        """Dispatch one job: ``{"do": name, ...}``."""
        words = dict(job)
        return getattr(self, words.pop("do"))(**words)

    def versions(self, plugins, rounds):
        """VERSION of each plugin."""
        return [self._call("VERSION", {"type": plugin}) for plugin in plugins * rounds]

    def programs(self, words, rounds):
        """Any program, for comparison."""
        return [_timed(words, b"", dict(os.environ))[1] | {"call": words[0]} for _ in range(rounds)]

    def cycle(self, chain, name, commands=("ADD", "DEL")):
        """One container: made, its chain called, removed."""
        _netns("add", name)
        calls, result = [], None
        for command in commands:
            result, more = self._chain(command, chain, name, result)
            calls += more
        _netns("del", name)
        return calls

    def many(self, chain, count):
        """The chain's ADD of so many containers at once, then DEL; how long each took in all."""
        names = [f"many{number}" for number in range(count)]
        for name in names:
            _netns("add", name)
        results, answer = {}, []

        def call(name):
            results[name], _ = self._chain(command, chain, name, results.get(name))

        for command in ("ADD", "DEL"):
            started = time.perf_counter()
            _at_once(count, call, names)
            seconds = time.perf_counter() - started
            answer.append({"call": command, "ms": 1000 * seconds, "kb": 0})
        for name in names:
            _netns("del", name)
        return answer

    def populate(self, chain, first, count):
        """Chained plugins' ADD for containers that exist on paper only, two at a time."""

        def add(number):
            self._chain("ADD", chain, f"paper{number}", _paper(number), number)

        _at_once(2, add, range(first, first + count))
        return []

    def on_paper(self, chain, number, commands):
        """Commands on one more such container."""
        calls, name = [], f"paper{number}"
        for command in commands:
            calls += self._chain(command, chain, name, _paper(number), number)[1]
        return calls

    def collect(self, conf, count):
        """GC with so many valid attachments."""
        valid = [{"containerID": f"paper{number}", "ifname": "eth0"} for number in range(count)]
        return [self._call("GC", conf | {"cni.dev/valid-attachments": valid})]

    def single(self, command, conf, name):
        """One call."""
        return [self._call(command, conf, name)]

    def _chain(self, command, chain, name, result, number=0):
        calls = []
        for plugin in chain if command == "ADD" else chain[::-1]:
            conf = {"cniVersion": "1.0.0", "name": "bench", **plugin}
            if "capabilities" in plugin:
                port = {"hostPort": 10000 + number, "containerPort": 80, "protocol": "tcp"}
                ports = [port] if not name.startswith("many") else []
                conf["runtimeConfig"] = {"portMappings": ports}
            if result:
                conf["prevResult"] = result
            call = self._call(command, conf, name)
            if command == "ADD":
                result = json.loads(call.pop("stdout"))
            calls.append(call)
        return result, calls

    def _call(self, command, conf, name=""):
        environ = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": name or "none",
            "CNI_NETNS": f"/run/netns/{name}",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": self._directory,
            "PATH": os.environ["PATH"],
        }
        program = f"{self._directory}/{conf['type']}"
        stdout, call = _timed([program], json.dumps(conf).encode(), environ)
        if call["status"]:
            raise SystemExit(f"{command} of {program} failed: {stdout.decode()}")
        return call | {"call": f"{command} {conf['type']}", "stdout": stdout.decode()}


def _timed(words, stdin, environ):
    """What a program prints; how long it took, and the memory it had at the most."""
    given, taken = os.memfd_create("stdin"), os.memfd_create("stdout")
    try:
        os.pwrite(given, stdin, 0)
        actions = [(os.POSIX_SPAWN_DUP2, given, 0), (os.POSIX_SPAWN_DUP2, taken, 1)]
        started = time.perf_counter()
        process = os.posix_spawn(words[0], words, environ, file_actions=actions)
        _, status, usage = os.wait4(process, 0)
        seconds = time.perf_counter() - started
        call = {"ms": 1000 * seconds, "kb": usage.ru_maxrss}
        call["status"] = os.waitstatus_to_exitcode(status)
        return os.pread(taken, os.fstat(taken).st_size, 0), call
    finally:
        os.close(given)
        os.close(taken)


def _at_once(workers, act, things):
    """Do something to each thing, so many at the same time; the first failure is raised."""
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(act, things):
            continue


def _paper(number):
    """The result of a bridge for a container that nobody has made."""
    high, low = divmod(number, 250)
    address = f"10.{100 + high // 250}.{high % 250}.{low + 2}"
    return {
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "cni0"}, {"name": "eth0", "sandbox": f"/run/netns/paper{number}"}],
        "ips": [{"address": f"{address}/8", "interface": 1}],
    }


def _netns(act, name):
    subprocess.run(["ip", "netns", act, name], check=True)


def main():
    """Answer jobs until stdin ends."""
    caller = Caller(sys.argv[1])
    for line in sys.stdin:
        calls = caller.run(json.loads(line))
        print(json.dumps([{**call, "stdout": ""} for call in calls]), flush=True)


if __name__ == "__main__":
    main()
