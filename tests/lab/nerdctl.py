"""The network that nerdctl makes by default, as its file has it."""

CHAIN = [
    {
        "type": "bridge",
        "bridge": "nerdctl0",
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"gateway": "10.4.0.1", "subnet": "10.4.0.0/24"}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    },
    {"type": "portmap", "capabilities": {"portMappings": True}},
    {"type": "firewall", "ingressPolicy": "same-bridge"},
    {"type": "tuning"},
]
LEASES = "/var/lib/cni/networks/bridge"


def published(host_port, container_port, protocol="tcp"):
    """What a runtime adds for ``-p``."""
    mapping = {"hostPort": host_port, "containerPort": container_port, "protocol": protocol}
    return {"portMappings": [mapping]}
