"""What flanneld wrote about this node: the file ``subnet.env``, and whether it is still true."""

from typing import NamedTuple

from cnilib.errors import CniError, ConfigError, IoError, TryAgain
from cnilib.types.addresses import parse_cidr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.types.addresses import IPNetwork

_NETWORKS = {"FLANNEL_NETWORK": 4, "FLANNEL_IPV6_NETWORK": 6}
_SUBNETS = {"FLANNEL_SUBNET": 4, "FLANNEL_IPV6_SUBNET": 6}
_MTU, _IPMASQ = "FLANNEL_MTU", "FLANNEL_IPMASQ"
_KEYS = {*_NETWORKS, *_SUBNETS, _MTU, _IPMASQ}
_MAX_MTU = 2**32 - 1
_DEVICES = {4: "flannel.1", 6: "flannel-v6.1"}  # of the vxlan backend with its default VNI
_ADVICE = "Check the flannel pod log for this node."


class Subnet(NamedTuple):
    """The cluster's networks and this node's subnets, IPv4 first; the MTU in bytes.

    ``masqueraded`` tells that flanneld itself masquerades what leaves the cluster.
    """

    networks: "tuple[IPNetwork, ...]"
    subnets: "tuple[IPNetwork, ...]"
    mtu: int
    masqueraded: bool

    @property
    def routed(self) -> "list[IPNetwork]":
        """The networks that this node has a subnet, and with it an address, to reach from."""
        versions = {subnet.version for subnet in self.subnets}
        return [network for network in self.networks if network.version in versions]


def load_subnet(path: str) -> Subnet:
    """What the file says.

    Raises:
        IoError: it is missing or cannot be read.
        ConfigError: it is incomplete or malformed.
    """
    try:
        with open(path, "rb") as file:
            text = file.read().decode("utf-8", "replace")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        hint = "flanneld has not written it yet. " if isinstance(error, FileNotFoundError) else ""
        raise IoError(
            f"failed to load flannel 'subnet.env' file: open {path}: {reason}. {hint}{_ADVICE}"
        ) from error
    try:
        return parse_subnet(text)
    except ValueError as error:
        raise ConfigError(
            f"failed to load flannel 'subnet.env' file: {path} {error}. {_ADVICE}"
        ) from None


def parse_subnet(text: str) -> Subnet:
    """The content of the file: ``KEY=VALUE`` lines, as a shell would read them.

    Raises:
        ValueError: what is missing or wrong, in words that follow the name of the file.
    """
    values = _read_lines(text)
    missing = [
        key
        for keys in (tuple(_NETWORKS), tuple(_SUBNETS), (_MTU,), (_IPMASQ,))
        if not any(key in values for key in keys)
        for key in keys
    ]
    if missing:
        raise ValueError(f"is missing {', '.join(missing)}")
    networks = tuple(
        network
        for key, version in _NETWORKS.items()
        if key in values
        for network in _parse_networks(key, values[key], version)
    )
    subnets = tuple(
        _parse_networks(key, values[key], version, single=True)[0]
        for key, version in _SUBNETS.items()
        if key in values
    )
    subnet = Subnet(networks, subnets, _parse_mtu(values[_MTU]), values[_IPMASQ] == "true")
    if not subnet.routed:
        raise ValueError("has no IP family with both a network and a subnet")
    return subnet


def _read_lines(text: str) -> dict[str, str]:
    """The known keys; of several lines the last counts."""
    values = {}
    for number, line in enumerate(text.split("\n"), 1):
        key, equals, value = line.strip().removeprefix("export ").partition("=")
        key, value = key.strip(), value.strip()
        if key not in _KEYS:
            continue
        if not equals:
            raise ValueError(f"has no value for {key} in line {number}")
        if len(value) > 1 and value[0] in "'\"" and value[-1] == value[0]:
            value = value[1:-1].strip()
        values[key] = value
    return values


def _parse_networks(
    key: str, text: str, version: int, *, single: bool = False
) -> "list[IPNetwork]":
    """A list of networks, each once; host bits are cleared."""
    networks: dict[IPNetwork, None] = {}
    for word in [text] if single else text.split(","):
        try:
            network = parse_cidr(word.strip()).network
        except ValueError as error:
            raise ValueError(f"is wrong at {key}: {error}") from None
        if network.version != version:
            raise ValueError(f"is wrong at {key}: {word.strip()!r} is no IPv{version} network")
        networks[network] = None
    return list(networks)


def _parse_mtu(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= _MAX_MTU):
        raise ValueError(f"is wrong at {_MTU}: {text!r} is no MTU (0 to {_MAX_MTU})")
    return int(text)


def check_current(path: str, subnet: Subnet) -> None:
    """Refuse a file of an earlier lease, which flannel's own device no longer agrees with.

    The vxlan backend gives its device the first address of the node's subnet. Other backends have
    no such device, and then there is nothing to compare with.

    Raises:
        TryAgain: device and file differ; flanneld writes the file after it set up the device.
    """
    from cnilib.kernel.addresses import list_addresses
    from cnilib.kernel.links import find_link
    from cnilib.kernel.netns import Namespace

    with Namespace.current() as host:
        for network in subnet.subnets:
            device = find_link(host, _DEVICES[network.version])
            if device is None:
                continue
            addresses = list_addresses(host, device.index, network.version)
            own = [address.interface for address in addresses if not address.scope]
            if own and not any(interface.ip in network for interface in own):
                raise TryAgain(
                    f"flannel 'subnet.env' file {path} is stale: it says {network}, but "
                    f"{device.name} has {own[0]}. {_ADVICE}"
                )


def unusable(error: CniError) -> CniError:
    """Why no container can be added now, as STATUS reports it."""
    from cnilib.errors import NotAvailable

    return NotAvailable(error.msg, error.details)
