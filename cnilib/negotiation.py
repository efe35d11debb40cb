"""Which CNI versions a plugin speaks, which command needs which, and the two answers about it.

Sources: protocol.md 2.6, 3.1 and 3.2. Imported before anything else of a plugin, so it imports
nothing.
"""

from cnilib.errors import DecodeError, VersionError

VERSION = "2.0.0"
"""The suite's own version. nerdctl compares it with v1.1.0 and v1.7.1 (protocol.md 2.6)."""

VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
"""The protocol versions of this library, oldest first."""

_NEEDED = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}
_PARTS = 3


def versions_from(oldest: str) -> tuple[str, ...]:
    """The versions a plugin supports when ``oldest`` is the first of them."""
    return VERSIONS[VERSIONS.index(oldest) :]


def about_text(plugin: str, oldest: str) -> str:
    """What a plugin called without a command prints to stderr."""
    return (
        f"CNI {plugin} plugin v{VERSION}\n"
        f"CNI protocol versions supported: {', '.join(versions_from(oldest))}\n"
    )


def version_document(oldest: str) -> str:
    """The answer to VERSION: one line of compact JSON with a newline."""
    supported = ",".join(f'"{version}"' for version in versions_from(oldest))
    return f'{{"cniVersion":"{VERSIONS[-1]}","supportedVersions":[{supported}]}}\n'


def check_version(command: str, version: str, oldest: str) -> None:
    """Hold the configuration's version against what ``command`` and the plugin need.

    Raises:
        DecodeError: CHECK, GC, STATUS: the version is not up to three integers.
        VersionError: unknown to the plugin, or too old for the command.
    """
    needed = _NEEDED.get(command)
    supported = versions_from(oldest)
    if needed:
        asked = _parse(version)
        if asked < _parse(needed):
            raise VersionError(
                f"config version does not allow {command}",
                f"cniVersion {version!r} of the configuration is older than {needed}",
            )
    if version not in supported:
        raise VersionError(
            "incompatible CNI versions",
            f'config is "{version}", plugin supports {list(supported)}',
        )


def _parse(version: str) -> tuple[int, ...]:
    parts = version.split(".")
    if len(parts) > _PARTS or not all(part.isascii() and part.isdigit() for part in parts):
        raise DecodeError(f"cannot parse cniVersion {version!r}: expected up to three integers")
    numbers = tuple(int(part) for part in parts)
    return numbers + (0,) * (_PARTS - len(numbers))
