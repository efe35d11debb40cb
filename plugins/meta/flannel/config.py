"""The flannel plugin's configuration, and the delegate's that comes of it."""

from pydantic import Field

from cnilib import jsontext
from cnilib.errors import ConfigError
from cnilib.types.base import FilePath, Items, JsonObject
from cnilib.types.config import IpamConf, NetConf
from cnilib.types.result import Route

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.request import Request
    from plugins.meta.flannel.subnet import Subnet

SUBNET_FILE = "/run/flannel/subnet.env"
DATA_DIR = "/var/lib/cni/flannel"


class FlannelIpam(IpamConf):
    """The base of the delegate's ``ipam`` section; keys that are not here are kept as well."""

    type: str = Field(default="", description="IPAM plugin of the delegate (host-local)")
    routes: Items[Route] = Field(default=(), description="routes before those to the cluster")


class TeardownConf(NetConf):
    """What DEL and GC need."""

    data_dir: FilePath = Field(default=DATA_DIR, description="where ADD keeps what it delegated")
    subnet_file: FilePath = Field(default=SUBNET_FILE, description="file that flanneld writes")


class Conf(TeardownConf):
    """The keys of ADD, CHECK and STATUS."""

    delegate: JsonObject = Field(
        default={}, description="base of the delegate's configuration; must not have name and ipam"
    )
    ipam: FlannelIpam = FlannelIpam()


def delegate_conf(req: "Request", conf: Conf, subnet: "Subnet") -> JsonObject:
    """The delegate's configuration (flannel.md 3): ours, completed from the subnet file.

    Raises:
        ConfigError: ``delegate`` has what it must not have.
    """
    for key in ("name", "ipam"):
        if jsontext.has(conf.delegate, key):
            raise ConfigError(f"'delegate' dictionary must not have '{key}' field: flannel sets it")
    kind = jsontext.find(conf.delegate, "type")
    if kind is None:
        kind = "bridge"
    elif not isinstance(kind, str):
        raise ConfigError(
            f"'delegate' dictionary, if present, must have (string) 'type', not {kind}"
        )
    document = conf.delegate | {"type": kind, "name": req.network, "ipam": _ipam(req, subnet)}
    defaults = {"ipMasq": not subnet.masqueraded, "mtu": subnet.mtu}
    if kind == "bridge":
        defaults["isGateway"] = True
    for key, value in defaults.items():
        if not jsontext.has(document, key):
            document[key] = value
    for key in ("cniVersion", "runtimeConfig"):
        if req.value(key) is not None:
            document[key] = req.value(key)
    return document


def delegate_type(document: JsonObject) -> str:
    """The plugin a built configuration is for; "" when it has none."""
    kind = jsontext.find(document, "type")
    return kind if isinstance(kind, str) else ""


def _ipam(req: "Request", subnet: "Subnet") -> JsonObject:
    given: JsonObject = req.value("ipam") or {}
    routes = jsontext.find(given, "routes") or []
    ours = {"type", "ranges", "routes"}
    kept = {key: value for key, value in given.items() if jsontext.fold(key) not in ours}
    return kept | {
        "type": jsontext.find(given, "type") or "host-local",
        "ranges": [[{"subnet": str(network)}] for network in subnet.subnets],
        "routes": [*routes, *({"dst": str(network)} for network in subnet.routed)],
    }
