"""What message classes ask of pyroute2's configuration; the real one compiles a pattern."""

import posix

uname = tuple(posix.uname())
machine = uname[4]
AF_BRIDGE = 7
data_plugins_pkgs: list[object] = []
data_plugins_path: list[str] = []


def __getattr__(name: str) -> object:
    return __loader__.real(__name__, name)
