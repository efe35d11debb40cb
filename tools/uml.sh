#!/bin/sh
# Run a command under User Mode Linux, over this machine's root file system: for what the running
# kernel lacks, such as bridges with VLAN filtering. Nothing of the machine but files is shared, and
# none of its files is changed by booting.
#
#   tools/uml.sh COMMAND ARGUMENT ...     needs user-mode-linux, kmod and busybox-static (Debian),
#                                         on processors with AMX also gcc
set -eu

command -v linux.uml >/dev/null || { echo "no linux.uml: install user-mode-linux" >&2; exit 69; }
version=$(ls /usr/lib/uml/modules | head -n 1)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
preload=
if grep -qw amx_tile /proc/cpuinfo; then
    preload=$scratch/xstate.so
    cc -O2 -shared -fPIC -o "$preload" "$(dirname "$0")/uml_xstate.c" || exit 69
fi

# the command as words of a shell script
for word in "$@"; do printf "'%s' " "$(printf %s "$word" | sed "s/'/'\\\\''/g")"; done >"$scratch/command"
cat >"$scratch/init" <<INIT
#!/bin/sh
export PATH='$PATH' HOME=/root CNI_BIN='${CNI_BIN:-}' PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mkdir -p /run/netns /run/cni /run/uml/lib/modules
ln -s /usr/lib/uml/modules/$version /run/uml/lib/modules/$version
depmod -b /run/uml $version 2>/dev/null
echo '$scratch/modprobe' >/proc/sys/kernel/modprobe
for module in ipv6 bridge veth 8021q dummy macvlan ipvlan vrf tun ifb nf_tables \
    sch_tbf sch_ingress cls_u32 act_mirred; do '$scratch/modprobe' \$module 2>/dev/null; done
ip link set lo up
echo 100 >/proc/sys/vm/dirty_writeback_centisecs # what the command prints is seen while it runs
echo 100 >/proc/sys/vm/dirty_expire_centisecs
cd '$PWD' && . '$scratch/command' >'$scratch/output' 2>&1
echo \$? >'$scratch/status'
sync
busybox poweroff -f
INIT
printf '#!/bin/sh\nexec modprobe -d /run/uml "$@"\n' >"$scratch/modprobe"
chmod +x "$scratch/init" "$scratch/modprobe"
: >"$scratch/output"
timeout "${UML_TIMEOUT:-900}" env LD_PRELOAD="$preload" linux.uml mem="${UML_MEMORY:-1G}" rootfstype=hostfs rootflags=/ rw \
    init="$scratch/init" con=null con0=null,fd:1 quiet >"$scratch/console" 2>&1 </dev/null &
tail -f -n +1 --pid=$! "$scratch/output"
wait $! || true
if [ ! -e "$scratch/status" ]; then
    cat "$scratch/console" >&2
    echo "the kernel did not get to the end of the command" >&2
    exit 70
fi
exit "$(cat "$scratch/status")"
