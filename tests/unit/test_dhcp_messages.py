"""dhcp: what goes over the wire can be read again, and whatever comes is read without a failure."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnilib.kernel import dhcp4, packets
from plugins.ipam.dhcp.daemon import messages6, names, options4
from plugins.ipam.dhcp.daemon.options4 import Route

CODES = st.integers(1, 254)
OPTIONS = st.dictionaries(CODES, st.binary(max_size=600), max_size=6)
MACS = st.binary(min_size=6, max_size=6).map(lambda octets: octets.hex(":"))
WORDS = st.integers(0, 0xFFFFFFFF)
IPV4 = st.integers(0, 0xFFFFFFFF).map(IPv4Address)
IPV6 = st.integers(0, (1 << 128) - 1).map(IPv6Address)
LABELS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=20)
NAMES = st.lists(LABELS, min_size=1, max_size=5).map(".".join)
ROUTES = st.builds(
    lambda address, width, router: Route(IPv4Network((address, width), strict=False), router),
    IPV4,
    st.integers(0, 32),
    IPV4,
)


# DHCPv4


@given(WORDS, MACS, OPTIONS, st.integers(0, 0xFFFF), IPV4)
def test_a_message_is_read_as_it_was_written(xid, mac, options, flags, address):
    options.pop(dhcp4.OVERLOAD, None)
    message = dhcp4.Message(xid, mac, options, flags=flags, ciaddr=str(address))
    data = dhcp4.encode(message)
    assert dhcp4.decode(data) == message
    assert len(data) >= 300


@given(OPTIONS)
def test_a_long_option_is_split_and_joined(options):
    encoded = dhcp4.encode_options(options)
    assert dhcp4.decode_options(encoded) == options


def test_an_option_of_256_bytes_has_two_parts():
    encoded = dhcp4.encode_options({43: b"x" * 256})
    assert (encoded[:2], encoded[257:259]) == (bytes((43, 255)), bytes((43, 1)))


@given(st.binary(max_size=700))
def test_any_datagram_is_read_without_failure(data):
    assert dhcp4.decode(data) is None or isinstance(dhcp4.decode(data), dhcp4.Message)


@given(st.binary(max_size=400))
def test_any_options_behind_a_header_are_read_without_failure(area):
    header = dhcp4.encode(dhcp4.Message(7, "02:00:00:00:00:01", {}))[:240]
    message = dhcp4.decode(header + area)
    assert message.xid == 7
    options4.routes(message.options)
    options4.dns(message.options)
    options4.prefix_length(message.options)


def test_overloaded_fields_hold_options():
    data = bytearray(dhcp4.encode(dhcp4.Message(7, "02:00:00:00:00:01", {52: b"\3", 43: b"a"})))
    data[108:112] = bytes((43, 1)) + b"b" + bytes((255,))  # file
    data[44:51] = bytes((0, 12, 2)) + b"hi" + bytes((255, 1))  # sname, behind a pad
    assert dhcp4.decode(bytes(data)).options == {52: b"\3", 43: b"ab", 12: b"hi"}


def test_fields_that_are_not_overloaded_hold_none():
    data = bytearray(dhcp4.encode(dhcp4.Message(7, "02:00:00:00:00:01", {43: b"a"})))
    data[108:112] = bytes((43, 1)) + b"b" + bytes((255,))
    assert dhcp4.decode(bytes(data)).options == {43: b"a"}


@pytest.mark.parametrize("area", [b"\x0c\x05abc", b"\x0c", b"\x01\x04\xff\xff\xff\0\x0c\x09x"])
def test_a_truncated_option_is_skipped(area):
    assert 12 not in dhcp4.decode_options(area)


@given(MACS, IPV4, MACS, IPV4, st.binary(max_size=300))
def test_a_datagram_is_read_as_it_was_written(source_mac, source, target_mac, target, payload):
    sent = packets.Datagram(source_mac, str(source), 68, target_mac, str(target), 67, payload)
    frame = packets.encode(sent)
    assert packets.decode(frame) == sent
    assert packets.decode(frame + b"\0" * 20) == sent  # Ethernet pads short frames
    assert internet_sum(frame[14:34]) == 0xFFFF


def internet_sum(data):
    total = sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@given(st.binary(max_size=100))
def test_any_frame_is_read_without_failure(frame):
    packets.decode(frame)


# what options mean


@given(st.lists(ROUTES, max_size=8))
def test_classless_routes_are_read_as_they_were_written(routes):
    assert options4.classless_routes(options4.encode_classless_routes(routes)) == routes


@pytest.mark.parametrize("text", ["21ffffffff0a000001", "180a01", "18"])
def test_malformed_classless_routes_are_none(text):
    assert options4.classless_routes(bytes.fromhex(text)) == []


@given(st.integers(1, 32))
def test_a_mask_is_a_prefix_length(length):
    mask = IPv4Network((0, length)).netmask.packed
    assert options4.prefix_length({dhcp4.SUBNET_MASK: mask}) == length


@pytest.mark.parametrize("mask", ["", "ffffff", "ff00ff00", "00000000"])
def test_what_is_no_mask_has_no_prefix_length(mask):
    assert options4.prefix_length({dhcp4.SUBNET_MASK: bytes.fromhex(mask)}) is None


def test_classful_routes_follow_the_class_of_their_destination():
    pairs = (
        "0a010203 01010101 ac100203 02020202 c0a80102 03030303 e0000001 04040404 00000000 05050505"
    )
    routes = options4.routes({dhcp4.STATIC_ROUTES: bytes.fromhex(pairs.replace(" ", ""))})
    assert [route["dst"] for route in routes] == ["10.0.0.0/8", "172.16.0.0/16", "192.168.1.0/24"]


@pytest.mark.parametrize(("mtu", "wanted"), [("0043", None), ("0044", 68), ("05dc", 1500)])
def test_an_mtu_that_is_none_is_left_out(mtu, wanted):
    options = {dhcp4.ROUTERS: bytes(4), dhcp4.MTU: bytes.fromhex(mtu)}
    assert options4.routes(options)[0].get("mtu") == wanted


# names


@given(st.lists(NAMES, max_size=4))
def test_names_are_read_as_they_were_written(listed):
    assert names.decode_names(names.encode_names(listed)) == listed


@given(st.binary(max_size=300))
def test_any_bytes_are_names_or_none(value):
    for name in [*names.decode_names(value), names.plain_name(value)]:
        assert not set(name) & set(" \n\r\t;#")


def test_a_compressed_name_is_followed():
    value = b"\3eng\7example\3org\0" + b"\2qa\xc0\4"
    assert names.decode_names(value) == ["eng.example.org", "qa.example.org"]


def test_a_circle_of_pointers_ends():
    assert names.decode_names(b"\1a\xc0\0") == []


# DHCPv6

ADDRESSES = st.builds(messages6.Leased, IPV6, WORDS, WORDS)
ASSOCIATIONS = st.builds(
    messages6.Association,
    st.binary(min_size=4, max_size=4),
    WORDS,
    WORDS,
    st.lists(ADDRESSES, max_size=3).map(tuple),
    st.just(0),
)


@given(
    st.integers(1, 13),
    st.integers(0, 0xFFFFFF),
    st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=80)), max_size=6),
)
def test_a_dhcp6_message_is_read_as_it_was_written(kind, xid, options):
    message = messages6.Message(kind, xid, options)
    assert messages6.decode(messages6.encode(message)) == message


@given(ASSOCIATIONS)
def test_an_association_is_read_as_it_was_written(association):
    value = messages6.encode_association(association)
    message = messages6.Message(messages6.REPLY, 1, [(messages6.IA_NA, value)])
    assert messages6.find_association(message, association.iaid) == association


@given(st.binary(max_size=300), st.binary(max_size=120))
def test_any_dhcp6_datagram_is_read_without_failure(data, inside):
    message = messages6.decode(data)
    wrapped = messages6.Message(7, 1, [(messages6.IA_NA, inside)])
    for each in filter(None, (message, wrapped)):
        messages6.find_association(each, inside[:4])
        messages6.status_of(each.options)


def test_an_address_with_a_failure_of_its_own_does_not_count():
    status = b"\0\x0d\0\2\0\2"
    address = bytes(16) + bytes(8) + status
    value = b"iaid" + bytes(8) + b"\0\5" + len(address).to_bytes(2, "big") + address
    message = messages6.Message(7, 1, [(messages6.IA_NA, value)])
    assert messages6.find_association(message, b"iaid").addresses == ()
