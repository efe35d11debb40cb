"""The reference plugin's rules in table filter, exactly as it spells them (firewall.md 3).

One ``iptables-restore`` for each family. Beside the reference's two rules for each address there
is a third, which accepts what portmap forwards to it.
"""

from cnilib.errors import CheckFailed
from cnilib.netfilter import iptables
from cnilib.netfilter.forward_chain import ADMIN_COMMENT, CHAIN, COMMENT, FORWARD
from cnilib.netfilter.iptables import words
from plugins.meta.firewall.targets import family_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cnilib.netfilter.iptables import Listing
    from cnilib.types.addresses import IPAddress

_TABLE = "filter"


def add_rules(admin_chain: str, addresses: "Sequence[IPAddress]") -> None:
    """Make the chains, the jumps to them and the rules that are not there yet.

    Raises:
        CniError, TryAgain: iptables refused.
    """
    for family, own in _by_family(addresses):
        rules = [rule for address in own for rule in _rules(address)]

        def plan(now: "Listing", rules: list[str] = rules) -> list[str]:
            return _missing(now, admin_chain, rules)

        iptables.change(family, _TABLE, plan)


def check_rules(admin_chain: str, addresses: "Sequence[IPAddress]") -> None:
    """Hold chains, jumps and rules against the table.

    Raises:
        CheckFailed: one is missing.
    """
    for family, own in _by_family(addresses):
        now = iptables.listing(family, _TABLE)
        for chain, target in ((FORWARD, CHAIN), (CHAIN, admin_chain)):
            if not now.jumps(chain, target):
                raise CheckFailed(f"table {family} {_TABLE}: {chain} does not jump to {target}")
        for address in own:
            for rule in _rules(address):
                if rule not in now.rules(CHAIN):
                    raise CheckFailed(f"table {family} {_TABLE}: expected a rule {rule!r}")


def _missing(now: "Listing", admin_chain: str, rules: list[str]) -> list[str]:
    lines = [f":{chain} - [0:0]" for chain in (CHAIN, admin_chain) if chain not in now]
    if not now.jumps(FORWARD, CHAIN):
        lines.append(_jump(FORWARD, CHAIN, COMMENT))
    if not now.jumps(CHAIN, admin_chain):
        lines.append(_jump(CHAIN, admin_chain, ADMIN_COMMENT))
    return lines + [rule for rule in rules if rule not in now.rules(CHAIN)]


def _jump(chain: str, target: str, comment: str) -> str:
    return words("-I", chain, "1", "-m", "comment", "--comment", comment, "-j", target)


def _rules(address: "IPAddress") -> tuple[str, ...]:
    host = f"{address}/{address.max_prefixlen}"
    return (
        f"-A {CHAIN} -d {host} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        f"-A {CHAIN} -s {host} -j ACCEPT",
        f"-A {CHAIN} -d {host} -m conntrack --ctstate DNAT -j ACCEPT",
    )


def _by_family(
    addresses: "Sequence[IPAddress]",
) -> "Iterator[tuple[str, list[IPAddress]]]":
    for family in ("ip", "ip6"):
        own = [address for address in addresses if family_of(address) == family]
        if own:
            yield family, own
