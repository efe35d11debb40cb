"""The sides that are compared: each has a throw-away host of its own and a process that calls."""

import json
import os
import subprocess
import sys

from tests.lab.host import Host


class Side:
    """A directory of plugins on a host; ``cnid``: with the plugin server running there."""

    def __init__(self, name, directory, *, cnid=False):
        self.name, self.directory = name, os.path.abspath(directory)
        self.host = Host(self.directory)
        self.cnid = self.host.start_cnid() if cnid else None
        self.calls = {}
        words = (sys.executable, "-m", "tests.bench.caller", self.directory)
        self._caller = subprocess.Popen(
            self.host.command(*words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.getcwd()},
        )

    def do(self, act, **words):
        """The calls of a job; see ``caller``."""
        self._caller.stdin.write(json.dumps({"do": act, **words}) + "\n")
        self._caller.stdin.flush()
        line = self._caller.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name}: {act} failed")
        return json.loads(line)

    def has(self, plugin):
        """Whether the directory has a plugin of that name."""
        return os.path.exists(f"{self.directory}/{plugin}")

    def resident(self):
        """KiB that are resident in the server's process, and what of it is its own (PSS)."""
        with open(f"/proc/{self.cnid.pid}/smaps_rollup") as file:
            fields = dict(line.split()[:2] for line in file if line.endswith("kB\n"))
        return int(fields["Rss:"]), int(fields["Pss:"])

    def close(self):
        """End everything that was started."""
        self._caller.communicate()
        self.host.close()
