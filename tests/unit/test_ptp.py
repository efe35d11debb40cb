"""ptp: which gateway an address has, and which routes a result leads to."""

from ipaddress import ip_address, ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnilib.errors import ConfigError
from cnilib.types.result import IPConfig, Result
from plugins.main.ptp import _first_by_gateway, _first_by_subnet, _with_gateway

INTERFACES = st.one_of(
    st.builds(lambda a, p: ip_interface((a, p)), st.ip_addresses(v=4), st.integers(1, 32)),
    st.builds(lambda a, p: ip_interface((a, p)), st.ip_addresses(v=6), st.integers(1, 128)),
)


def config(address, gateway=None):
    return IPConfig(address=ip_interface(address), gateway=gateway and ip_address(gateway))


@given(INTERFACES)
def test_a_gateway_is_another_host_of_the_subnet_or_an_error(interface):
    try:
        gateway = _with_gateway(IPConfig(address=interface)).gateway
    except ConfigError:
        single = interface.network.num_addresses == 1
        assert single or interface.ip == interface.network.network_address + 1
        return
    assert gateway in interface.network
    assert gateway != interface.ip
    assert gateway - 1 == interface.network.network_address or interface.network.num_addresses == 2


def test_a_gateway_of_the_ipam_plugin_stays():
    given_one = config("10.0.0.5/24", "192.168.9.9")
    assert _with_gateway(given_one) is given_one


@pytest.mark.parametrize("address", ["10.0.0.1/24", "10.0.0.1/32", "fd00::1/64", "fd00::9/128"])
def test_where_no_host_is_first_a_gateway_must_be_configured(address):
    with pytest.raises(ConfigError):
        _with_gateway(config(address))


def test_each_gateway_and_each_subnet_counts_once_and_the_first_address_stands_for_it():
    first = config("10.0.0.5/24", "10.0.0.1")
    ips = (
        first,
        config("10.0.0.6/24", "10.0.0.1"),
        config("10.0.1.7/32", "10.0.0.1"),
        config("fd00::5/64", "fd00::1"),
    )
    result = Result(ips=ips)
    assert _first_by_gateway(result) == {
        ip_address("10.0.0.1"): first,
        ip_address("fd00::1"): ips[3],
    }
    assert set(_first_by_subnet(result).values()) == {first, ips[3]}
