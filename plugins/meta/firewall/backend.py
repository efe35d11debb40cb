"""Which packet filter a configuration is for (firewall.md 2, netfilter.md 5)."""

from cnilib.errors import NotAvailable
from cnilib.log import warn
from cnilib.netfilter import iptables, nfprobe
from plugins.meta.firewall import firewalld

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NFTABLES, IPTABLES, FIREWALLD = "nftables", "iptables", "firewalld"
_AUTOMATIC = ""


def choose(asked: str, families: "Iterable[str]", environ: "Mapping[str, str]") -> str:
    """The backend to use; an unknown name counts as none, as with the reference plugin."""
    if asked not in {NFTABLES, IPTABLES, FIREWALLD, _AUTOMATIC}:
        warn(f"firewall: unknown backend {asked!r}: choosing one (nftables, iptables, firewalld)")
        asked = _AUTOMATIC
    if asked == _AUTOMATIC:
        if firewalld.is_running(environ):
            return FIREWALLD
        legacy = any(iptables.uses_legacy(family) for family in families)
        asked = IPTABLES if legacy or not nfprobe.supported() else NFTABLES
    if asked == IPTABLES and not all(iptables.available(family) for family in families):
        return NFTABLES  # says the same, and needs no binary
    return asked


def check_available() -> None:
    """Hold the host against what ADD needs.

    Raises:
        NotAvailable: neither nf_tables nor iptables works here.
    """
    if not nfprobe.supported() and not iptables.available("ip"):
        raise NotAvailable(
            "cannot filter packets: the kernel has no nf_tables and there is no iptables binary "
            "(modprobe nf_tables)"
        )
