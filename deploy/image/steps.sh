#!/usr/bin/env bash
# The steps of the image, one function each: `steps.sh STEP`, as root, in a Debian root. The Dockerfile runs them in its
# stages, and so does `make image` without a container engine. Packages come from where apt and pip are configured to.
set -euo pipefail

readonly environment=/opt/voice-agent tools=/opt/tools source=/src
readonly account_id=10001

# What runs the server: every stage begins with it.
system() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update
    apt-get -qq upgrade -y
    apt-get -qq install -y --no-install-recommends ca-certificates python3 tini tzdata
    forget_packages
}

# What installs the server, and stays behind in the build stage.
tools() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update
    apt-get -qq install -y --no-install-recommends python3-venv
    forget_packages
    python3 -m venv "$tools"
    python3 -m venv --without-pip "$environment"
}

# The locked requirements, each file compared with the lock's hashes. The lock is complete: nothing is resolved again.
dependencies() {
    install_into "$tools" --require-hashes --no-deps --requirement "$source/requirements/build.txt"
    install_into "$environment" --require-hashes --no-deps --requirement "$source/requirements/runtime.txt"
    # Some packages carry templates that end in .py and are no Python.
    byte_compile "$environment"/lib/python3*/site-packages || true
}

# This package. Its build reaches no network.
package() {
    local wheels
    wheels=$(mktemp -d)
    pip wheel --quiet --no-build-isolation --no-deps --no-index --wheel-dir "$wheels" "$source"
    install_into "$environment" --no-deps --no-index "$wheels"/*.whl
    pip --python "$environment/bin/python3" check >/dev/null
    byte_compile "$environment"/lib/python3*/site-packages/voice_agent
    "$environment/bin/voice-agent" version >/dev/null
}

# Who runs the server, and the one folder that it may write.
account() {
    groupadd --system --gid "$account_id" voice-agent
    useradd --system --uid "$account_id" --gid "$account_id" --home-dir /data --no-create-home \
        --shell /usr/sbin/nologin voice-agent
    install --directory --owner "$account_id" --group "$account_id" --mode 0750 /data
}

pip() { "$tools/bin/python" -m pip --disable-pip-version-check --no-cache-dir "$@"; }

# Wheels alone: nothing that is downloaded runs while the image is built.
install_into() {
    local target=$1
    shift
    pip --python "$target/bin/python3" install --quiet --only-binary :all: --no-compile "$@"
}

# The image is read-only: neither is its source looked at again, nor can Python write what is not compiled here.
byte_compile() { python3 -m compileall -qq -j 0 --invalidation-mode unchecked-hash "$@"; }

forget_packages() { rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log; }

case "${1:-}" in
    system | tools | dependencies | package | account) "$1" ;;
    *)
        echo "usage: steps.sh system|tools|dependencies|package|account" >&2
        exit 2
        ;;
esac
