"""pyroute2 imports it for plugins of its own that nobody configures here."""


def __getattr__(name: str) -> object:
    return __loader__.real(__name__, name)
