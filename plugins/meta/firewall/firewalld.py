"""firewalld's part: the container's addresses as sources of a zone (firewall.md 3).

Its own tables are off limits, so it is asked over D-Bus. The zone's runtime configuration is
changed, which a ``firewall-cmd --reload`` forgets; CHECK notices.
"""

from contextlib import contextmanager

from cnilib.errors import CheckFailed, CniError
from plugins.meta.firewall.dbus import Bus, BusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cnilib.types.addresses import IPAddress
    from cnilib.undo import Undo

_NAME = "org.fedoraproject.FirewallD1"
_PATH = "/org/fedoraproject/FirewallD1"
_INTERFACE = "org.fedoraproject.FirewallD1.zone"
_ALREADY_SET = "ZONE_ALREADY_SET"
_WHOLE_MACHINE = [b"0", b"0", b"4294967295"]  # user_namespaces(7): the map of the initial one


def is_running(environ: "Mapping[str, str]") -> bool:
    """Whether firewalld owns its name on the system bus; no bus means no firewalld.

    In a user namespace it is not ours to ask.
    """
    if not _may_ask():
        return False
    try:
        with Bus.system(environ) as bus:
            return bus.has_owner(_NAME)
    except (BusError, OSError):
        return False


def add_sources(
    environ: "Mapping[str, str]", zone: str, addresses: "Iterable[IPAddress]", undo: "Undo"
) -> None:
    """Put addresses into the zone; those that are there already are fine.

    Raises:
        CniError: there is no bus, or firewalld refuses.
    """
    for address in addresses:
        source = _source(address)
        undo.add(f"remove {source} from zone {zone}", _remove, environ, zone, source)
        with _told(f"add source {source} to firewalld zone {zone}"), Bus.system(environ) as bus:
            try:
                bus.call(_NAME, _PATH, _INTERFACE, "addSource", zone, source)
            except BusError as error:
                if _ALREADY_SET not in str(error):
                    raise


def remove_sources(
    environ: "Mapping[str, str]", zone: str, addresses: "Iterable[IPAddress]", *, asked: bool
) -> None:
    """Take addresses out of the zone, where firewalld runs; nothing else matters any more."""
    if asked or is_running(environ):
        for address in addresses:
            try:
                _remove(environ, zone, _source(address))
            except CniError:  # not in the zone, or no firewalld: then it is not open
                continue


def check_sources(
    environ: "Mapping[str, str]", zone: str, addresses: "Iterable[IPAddress]"
) -> None:
    """Ask firewalld for each address.

    Raises:
        CheckFailed: one is not in the zone.
        CniError: there is no bus, or firewalld refuses to answer.
    """
    for address in addresses:
        source = _source(address)
        with _told(f"query source {source} of firewalld zone {zone}"), Bus.system(environ) as bus:
            if not bus.call(_NAME, _PATH, _INTERFACE, "querySource", zone, source):
                raise CheckFailed(
                    f"{source} is not in firewalld zone {zone} (a reload forgets it; "
                    f"firewall-cmd --permanent --zone={zone} --add-source=<subnet> does not)"
                )


def _remove(environ: "Mapping[str, str]", zone: str, source: str) -> None:
    with _told(f"remove source {source} from firewalld zone {zone}"), Bus.system(environ) as bus:
        bus.call(_NAME, _PATH, _INTERFACE, "removeSource", zone, source)


@contextmanager
def _told(act: str) -> "Iterator[None]":
    try:
        yield
    except BusError as error:
        raise CniError(f"failed to {act}: {error}") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CniError(f"failed to {act}: the system bus does not answer: {reason}") from error


def _source(address: "IPAddress") -> str:
    return f"{address}/{address.max_prefixlen}"


def _may_ask() -> bool:
    try:
        with open("/proc/self/uid_map", "rb") as file:
            return file.read().split() == _WHOLE_MACHINE
    except OSError:  # a kernel without user namespaces
        return True
