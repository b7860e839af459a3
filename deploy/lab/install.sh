#!/bin/sh
# install.sh PROGRAM PACKAGE: installs a Debian package if the program is not here. Nothing of it is started.
set -e
command -v "$1" >/dev/null && exit 0
if [ "$(id -u)" != 0 ]; then echo "$1 is not here: install the Debian package $2" >&2; exit 0; fi
export DEBIAN_FRONTEND=noninteractive
made=no
if [ ! -e /usr/sbin/policy-rc.d ]; then printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d; made=yes; fi
trap 'if [ $made = yes ]; then rm -f /usr/sbin/policy-rc.d; fi' EXIT
apt-get install -y -q -o DPkg::Lock::Timeout=600 --no-install-recommends "$2" || {
	apt-get update -q -o DPkg::Lock::Timeout=600
	apt-get install -y -q -o DPkg::Lock::Timeout=600 --no-install-recommends "$2"
}
