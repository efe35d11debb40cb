"""The dhcp plugin's configuration, and what it adds up to for one call."""

from pydantic import Field, field_validator

from cnilib.errors import ConfigError, EnvError
from cnilib.types.addresses import IpOrCidr, parse_ip_or_cidr
from cnilib.types.base import FilePath, Items, Model
from cnilib.types.config import NetConf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.request import Request

DEFAULT_SOCKET = "/run/cni/dhcp.sock"

OPTION_NAMES = {
    "subnet-mask": 1,
    "routers": 3,
    "host-name": 12,
    "vendor-class-identifier": 60,
    "dhcp-client-identifier": 61,
    "user-class": 77,
}
"""The names that the reference knows; every other option is given by its number."""

_ALWAYS_REQUESTED = (1, 3, 6, 15, 26, 33, 119, 121)
_REQUESTED_OF_NOTHING = (1, 3, 6, 15)
_LARGEST_CODE, _LONGEST_VALUE = 255, 255


def option_code(text: str) -> int:
    """The code of an option given by number or name.

    Raises:
        ValueError: neither.
    """
    if text in OPTION_NAMES:
        return OPTION_NAMES[text]
    if text.isascii() and text.isdigit() and int(text) <= _LARGEST_CODE:
        return int(text)
    names = ", ".join(sorted(OPTION_NAMES))
    raise ValueError(f"cannot parse option {text!r}: expected 0 to 255, or one of {names}")


class RequestedOption(Model):
    """One entry of ``request``."""

    option: str = Field(default="", description="code or name of an option to ask the server for")
    skip_default: bool = Field(default=False, description="ask for the listed options only")

    @field_validator("option")
    @classmethod
    def _is_known(cls, text: str) -> str:
        if text:
            option_code(text)
        return text


class ProvidedOption(Model):
    """One entry of ``provide``."""

    option: str = Field(description="code or name of an option to send")
    value: str = Field(default="", description="its value, as text")
    from_arg: str = Field(default="", description="key of CNI_ARGS whose value is sent instead")

    @field_validator("option")
    @classmethod
    def _is_known(cls, text: str) -> str:
        if option_code(text) in {0, _LARGEST_CODE}:
            raise ValueError(f"option {text} has no value: it cannot be provided")
        return text


class SocketIpam(Model):
    """Where the daemon is."""

    daemon_socket_path: FilePath = Field(
        default=DEFAULT_SOCKET, description="socket of `dhcp daemon`"
    )


class DhcpIpam(SocketIpam):
    """The ``ipam`` section."""

    request: Items[RequestedOption] = Field(
        default=(), description="DHCPv4 options to ask the server for"
    )
    provide: Items[ProvidedOption] = Field(
        default=(), description="DHCPv4 options to send to the server"
    )
    priority: int = Field(default=0, description="metric of every route; 0 means not given")
    ipv4: bool = Field(default=True, description="get an IPv4 address by DHCPv4")
    ipv6: bool = Field(default=False, description="get an IPv6 address by DHCPv6")


class Ips(Model):
    """Addresses that the runtime asks for; a prefix length is ignored."""

    ips: Items[IpOrCidr] = Field(default=(), description="addresses to suggest to the server")


class SocketConf(NetConf):
    """All that DEL, GC and STATUS need."""

    ipam: SocketIpam  # type: ignore[assignment] # the section is this plugin's own

    @property
    def socket_path(self) -> str:
        """Where the daemon listens."""
        return self.ipam.daemon_socket_path or DEFAULT_SOCKET


class TeardownConf(SocketConf):
    """Forgives what ADD refuses: nothing in the section may keep a lease alive."""

    ipam: SocketIpam = SocketIpam()


class Conf(SocketConf):
    """What ADD and CHECK read of the network configuration."""

    ipam: DhcpIpam
    runtime_config: Ips = Ips()

    def families(self) -> tuple[int, ...]:
        """4, 6 or both.

        Raises:
            ConfigError: neither is asked for.
        """
        wanted = ((4, self.ipam.ipv4), (6, self.ipam.ipv6))
        families = tuple(family for family, on in wanted if on)
        if not families:
            raise ConfigError("ipam.ipv4 and ipam.ipv6 are both false: there is nothing to get")
        return families

    def requested(self) -> list[int]:
        """The parameter request list, ascending."""
        codes = {option_code(entry.option) for entry in self.ipam.request if entry.option}
        if not any(entry.skip_default for entry in self.ipam.request):
            codes.update(_ALWAYS_REQUESTED)
        return sorted(codes or _REQUESTED_OF_NOTHING)

    def provided(self, req: "Request") -> dict[int, bytes]:
        """Option values to send, by code; an option without a value is not sent.

        Raises:
            ConfigError: a value is longer than an option can be.
        """
        arguments = lenient_args(req.args)
        options: dict[int, bytes] = {}
        for entry in self.ipam.provide:
            value = arguments.get(entry.from_arg, entry.value).encode()
            if len(value) > _LONGEST_VALUE:
                raise ConfigError(
                    f"option {entry.option} to provide is {len(value)} bytes long: "
                    f"DHCP has room for {_LONGEST_VALUE}"
                )
            if value:
                options[option_code(entry.option)] = value
        return options

    def suggestions(self, req: "Request") -> list[str]:
        """The addresses that CNI_ARGS ``IP`` and the capability ``ips`` ask for, in this order.

        Raises:
            EnvError: ``IP`` is no address.
        """
        suggested = list(self.runtime_config.ips)
        if text := lenient_args(req.args).get("IP"):
            try:
                suggested.insert(0, parse_ip_or_cidr(text))
            except ValueError as error:
                raise EnvError(f"invalid IP in CNI_ARGS: {error}") from None
        return [str(address.ip) for address in suggested]


def lenient_args(text: str) -> dict[str, str]:
    """CNI_ARGS as the reference's dhcp plugin reads them: what is malformed is left out."""
    pairs = (pair.partition("=") for pair in text.split(";"))
    return {key: value for key, separator, value in pairs if separator}
