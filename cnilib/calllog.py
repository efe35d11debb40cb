"""An opt-in journal of calls: one JSON line each, in the file that CNI_PLUGIN_LOG names.

Set the variable where the runtime is started; nothing in a network configuration changes. The
trace id of a runtime that sends one (W3C ``TRACEPARENT``) is part of the line.
"""

import json
import os
import time

from cnilib.log import warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cnilib.errors import CniError

_VARIABLES = {
    "command": "CNI_COMMAND",
    "containerID": "CNI_CONTAINERID",
    "ifname": "CNI_IFNAME",
    "netns": "CNI_NETNS",
    "traceparent": "TRACEPARENT",
}


def record(
    environ: "Mapping[str, str]",
    plugin: str,
    network: str,
    seconds: float,
    failure: "CniError | None",
) -> None:
    """Append one call to the journal; a journal that cannot be written fails no call."""
    path = environ["CNI_PLUGIN_LOG"]
    line = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "plugin": plugin}
    line |= {key: environ[name] for key, name in _VARIABLES.items() if environ.get(name)}
    line |= {"network": network} if network else {}
    outcome = {"code": failure.code, "error": str(failure)} if failure else {"code": 0}
    text = json.dumps(line | {"milliseconds": round(seconds * 1000, 1)} | outcome) + "\n"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, text.encode())  # one write: lines of parallel calls do not mix
        finally:
            os.close(descriptor)
    except OSError as error:
        warn(f"failed to write the call log {path}: {error.strerror}")
