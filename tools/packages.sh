#!/bin/sh
# Installs the distribution's packages that a target of the Makefile needs, and only what is missing.
#
#   tools/packages.sh build|demo|test ...
#
# Debian 12 and newer, Fedora. Where something is missing it needs root, and a package source as the
# system has it set up. Elsewhere, or with SKIP_PACKAGES=1, it does nothing: the tools that are then
# missing name themselves.
set -eu

# what every target needs: an interpreter with its shared library, venv, binutils (strip, objcopy),
# a compiler and headers for the boot loader, and the library that is bundled
debian_build="python3 python3-venv libpython3-stdlib libpython3-dev binutils gcc libc6-dev make libnftables1"
fedora_build="python3 python3-libs python3-devel python3-pip binutils gcc make nftables"
debian_demo="iproute2 iputils-ping nftables util-linux procps"
fedora_demo="iproute iputils nftables util-linux procps-ng"
debian_test="$debian_demo iptables conntrack dnsmasq-base iperf3 strace kmod"
fedora_test="$fedora_demo iproute-tc iptables-nft conntrack-tools dnsmasq iperf3 strace kmod"
# real runtimes, the reference plugins, another kernel: a test that misses one is skipped and says so
debian_wish="containernetworking-plugins containerd runc podman busybox-static user-mode-linux lksctp-tools"
fedora_wish="containernetworking-plugins containerd runc podman busybox lksctp-tools"

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }

need_root() {
    if [ "$(id -u)" != 0 ]; then
        echo "missing packages: $*" >&2
        echo "run this as root, or install them and run it again" >&2
        exit 1
    fi
}

refreshed=
apt_refresh() {
    if [ -z "$refreshed" ]; then
        say "refreshing the package lists"
        apt-get -q update
        refreshed=yes
    fi
}

apt_has() { dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed; }

apt_missing() { for package in "$@"; do apt_has "$package" || printf '%s ' "$package"; done; }

apt_install() {
    missing=$(apt_missing "$@")
    [ -n "$missing" ] || return 0
    need_root "$missing"
    apt_refresh
    say "installing $missing"
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $missing
}

apt_wish() {
    for package in $(apt_missing "$@"); do
        [ "$(id -u)" = 0 ] || { echo "not installed: $package" >&2; continue; }
        apt_refresh
        apt-cache show "$package" >/dev/null 2>&1 || { echo "not in this release: $package" >&2; continue; }
        apt_install "$package" || echo "cannot be installed: $package" >&2
    done
}

# Debian keeps the interpreter's shared library in a package of its own, named after the version.
apt_python_library() {
    apt_install "libpython$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
}

dnf_missing() { for package in "$@"; do rpm -q --whatprovides "$package" >/dev/null 2>&1 || printf '%s ' "$package"; done; }

dnf_install() {
    missing=$(dnf_missing "$@")
    [ -n "$missing" ] || return 0
    need_root "$missing"
    say "installing $missing"
    # shellcheck disable=SC2086 # a list of words
    dnf -y --setopt=install_weak_deps=False install $missing
}

dnf_wish() {
    for package in $(dnf_missing "$@"); do
        [ "$(id -u)" = 0 ] || { echo "not installed: $package" >&2; continue; }
        dnf_install "$package" || echo "cannot be installed: $package" >&2
    done
}

[ -z "${SKIP_PACKAGES:-}" ] || exit 0
for group in "$@"; do
    if command -v apt-get >/dev/null; then
        case $group in
            build) apt_install $debian_build && apt_python_library ;;
            demo) apt_install $debian_demo ;;
            test) apt_install $debian_test && apt_wish $debian_wish ;;
        esac
    elif command -v dnf >/dev/null; then
        case $group in
            build) dnf_install $fedora_build ;;
            demo) dnf_install $fedora_demo ;;
            test) dnf_install $fedora_test && dnf_wish $fedora_wish ;;
        esac
    fi
done
