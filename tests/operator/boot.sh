#!/bin/sh
# Boots the real systemd as process 1 of namespaces of its own, on a copy of this machine's files whose
# changes nobody else sees. Killed, it takes everything that it has started along.
#   boot.sh FOLDER     an empty folder for the changes, and for console.log
set -eu

if [ "${2-}" = groups ]; then
	# In a mount namespace of its own: a control group for what is to come, and no more rights over others.
	mkdir "$1/groups"
	mount -t cgroup2 cgroup2 "$1/groups"
	mkdir "$1/groups/lyftr-operator-$$"
	echo "$$" >"$1/groups/lyftr-operator-$$/cgroup.procs"
	exec unshare --fork --kill-child --pid --mount --cgroup --uts --ipc --net "$0" "$1" boot
fi
if [ "${2-}" != boot ]; then
	exec unshare --mount "$0" "$1" groups
fi

mount -t tmpfs tmpfs "$1"
mkdir "$1/changes" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/changes,workdir=$1/work" "$1/root"
cd "$1/root"
mount -t proc proc proc
# Settings of the kernel are everybody's.
mount --bind proc/sys proc/sys
mount -o remount,ro,bind proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount --rbind /dev dev
mount -t tmpfs tmpfs run
mkdir run/units
# The least that a service with its default dependencies waits for.
for target in sysinit basic sockets timers shutdown multi-user network-online local-fs umount; do
	printf '[Unit]\nDefaultDependencies=no\n' >"run/units/$target.target"
done
pivot_root . mnt
cd /
exec >/run/console.log 2>&1 </dev/null
umount -l /mnt
# As process 1 of a machine does it, which is how credentials come to a service.
mount --make-rshared /
export container=other SYSTEMD_UNIT_PATH=/etc/systemd/system:/run/units
exec /lib/systemd/systemd --system --log-target=console --show-status=no --unit=basic.target
