"""The network that nerdctl makes by default, as its file has it."""

from tools.demo.runtime import NETWORK

CHAIN = NETWORK["plugins"]
LEASES = "/var/lib/cni/networks/bridge"


def published(host_port, container_port, protocol="tcp"):
    """What a runtime adds for ``-p``."""
    mapping = {"hostPort": host_port, "containerPort": container_port, "protocol": protocol}
    return {"portMappings": [mapping]}
