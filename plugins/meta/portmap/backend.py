"""Which packet filter a configuration is for (netfilter.md 5)."""

from cnilib.errors import ConfigError, NotAvailable
from cnilib.netfilter import iptables, nfprobe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugins.meta.portmap.config import Conf
    from plugins.meta.portmap.targets import Target

IPTABLES, NFTABLES = "iptables", "nftables"


def choose(conf: "Conf", targets: "Sequence[Target]") -> tuple[str, "Sequence[Target]"]:
    """The backend, and the targets with their conditions in its words.

    iptables when asked for, when an option is in its syntax, or when this host keeps its rules in
    iptables-legacy; else nftables. A host without the binary gets nftables, too, as long as that
    can express the same.

    Raises:
        ConfigError: iptables is needed and missing.
    """
    if not _wants_iptables(conf):
        return NFTABLES, targets
    if all(iptables.available(target.family) for target in targets):
        return IPTABLES, targets
    if conf.external_set_mark_chain:
        raise ConfigError(
            f"externalSetMarkChain {conf.external_set_mark_chain} needs an iptables binary, and "
            "this host has none: install iptables or drop the option"
        )
    return NFTABLES, [_translated(target) for target in targets]


def check_available() -> None:
    """Hold the host against what ADD needs.

    Raises:
        NotAvailable: neither nf_tables nor iptables works here.
    """
    if not nfprobe.supported() and not iptables.available("ip"):
        raise NotAvailable(
            "cannot forward ports: the kernel has no nf_tables and there is no iptables binary "
            "(modprobe nf_tables)"
        )


def _wants_iptables(conf: "Conf") -> bool:
    if conf.backend:
        return conf.backend == IPTABLES
    if conf.keys_for(NFTABLES):
        return False
    return bool(conf.keys_for(IPTABLES)) or iptables.uses_legacy()


def _translated(target: "Target") -> "Target":
    from plugins.meta.portmap.conditions import translated

    if not target.conditions:
        return target
    return target._replace(conditions=translated(target.conditions, target.family))
