#!/bin/sh
# Makes the root folder of a Python base image from Debian packages, for places where no image registry answers.
#   debootstrap.sh SUITE FOLDER [MIRROR]
# Needs root, debootstrap and a Debian mirror. The caller imports the folder into Docker and deletes it.
set -eu
suite=$1
root=$2
mirror=${3-}

echo "debootstrap: packages of $suite from ${mirror:-the default mirror}"
debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv "$suite" "$root" ${mirror:+"$mirror"}

# What a user's apt layer installs from: with the security archive only where the mirror is Debian's own.
sources=$root/etc/apt/sources.list
used=$(awk '$1 == "deb" { print $2; exit }' "$sources")
{
  echo "deb $used $suite main"
  echo "deb $used $suite-updates main"
  [ -n "$mirror" ] || echo "deb ${used%/}-security $suite-security main"
} > "$sources.new"
mv "$sources.new" "$sources"

# Debian marks its own Python as managed by apt; pip installs go to a venv that is first on the image's PATH. It sees what a
# user's apt layer installs for Python, too: python3-torch is a seventh of what PyPI's torch is.
echo "venv: /opt/venv"
chroot "$root" python3 -m venv --system-site-packages /opt/venv

# Services must not start while a user's apt layer installs them.
printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"

mkdir -p "$root/fabric/socket" "$root/fabric/bundle" "$root/fabric/sdk" "$root/scratch"
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/usr/share/doc/* \
  "$root"/usr/share/man/* "$root"/usr/share/locale/* "$root"/usr/share/info/* "$root"/tmp/*
: > "$root/etc/machine-id"
rm -f "$root/etc/resolv.conf" "$root/etc/hostname"
