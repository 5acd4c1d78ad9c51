# shellcheck shell=bash
# What bin/fink, its commands and bin/fink_test share: the checkout, the help texts, and the set-up.

fink_lib=$(cd -P "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# The checkout that this file is part of: a FINK_HOME that names another one would mix two versions.
FINK_HOME=${fink_lib%/bin/lib}
FINK_SETUP=${FINK_SETUP:-$FINK_HOME/var/setup}
[[ $FINK_SETUP == /* ]] || FINK_SETUP=$PWD/$FINK_SETUP
export FINK_HOME FINK_SETUP

fail() { # message [exit code]
    printf 'fink: %s\n' "$1" >&2
    exit "${2:-1}"
}

# The comment at the head of a command's file is its help.
help_of() { # file
    local line
    while IFS= read -r line; do
        case $line in
            '#!'* | '# shellcheck'*) ;;
            '#'*) line=${line#\#}; printf '%s\n' "${line# }" ;;
            *) return 0 ;;
        esac
    done <"$1"
}

java_version() { # java's home -> major version; by its release file, or by asking it (40 times slower)
    local line
    if [[ -r $1/release ]]; then
        while IFS= read -r line; do
            [[ $line == JAVA_VERSION=* ]] || continue
            line=${line#*\"}
            printf '%s\n' "${line%%[.\"]*}"
            return
        done <"$1/release"
    fi
    "$1/bin/java" -XshowSettings:properties -version 2>&1 | sed -n 's/^ *java.specification.version = //p' || true
}

java_home() { # java program -> its home, also where the program is only a shim
    local java=$1 link
    while [[ -L $java ]]; do
        link=$(readlink "$java")
        [[ $link == /* ]] && java=$link || java=${java%/*}/$link
    done
    if [[ $java == */bin/java && -r ${java%/bin/java}/release ]]; then
        printf '%s\n' "${java%/bin/java}"
    else
        "$java" -XshowSettings:properties -version 2>&1 | sed -n 's/^ *java.home = //p' || true
    fi
}

find_java() { # exports JAVA_HOME
    local home version found=''
    for home in "${JAVA_HOME-}" "$(type -P java >/dev/null && java_home "$(type -P java)")"; do
        [[ -n $home && -x $home/bin/java ]] || continue
        version=$(java_version "$home")
        case $version in
            17 | 21) export JAVA_HOME=$home; return ;;
            *) found+=" (Java ${version:-of unknown version} in $home does not do)" ;;
        esac
    done
    fail "no JDK 17 or 21 in JAVA_HOME or PATH$found: apt install openjdk-17-jdk-headless (Debian, Ubuntu), dnf install java-17-openjdk-headless (Fedora, RHEL), brew install openjdk@17 (macOS)"
}

find_python() { # prints a Python that the locked packages are known to run on
    local candidate
    for candidate in "${FINK_PYTHON-}" python3.11 python3 python3.12 python3.13; do
        # The launcher's own export, seen by a fink that was started by a fink.
        [[ -n $candidate && $candidate != "$FINK_SETUP/venv/bin/python" ]] || continue
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
            type -P "$candidate"
            return
        fi
        [[ $candidate != "${FINK_PYTHON-}" ]] || fail "FINK_PYTHON=$candidate is no Python 3.11 to 3.13"
    done
    fail "no Python 3.11 in PATH: apt install python3.11 python3.11-venv (Debian, Ubuntu), dnf install python3.11 (Fedora, RHEL), brew install python@3.11 (macOS); or set FINK_PYTHON to one"
}

# Makes sure that the installation is there and exports what Python needs of it. The stamp is a copy of the lock files that
# were worked off, so this costs no more than reading them.
ensure_setup() { # broker | tests
    local wanted file stamp='' python
    find_java
    # Another Spark's or Python's modules must not get in the way of the locked ones.
    unset SPARK_HOME PYTHONHOME
    export PYTHONPATH=$FINK_HOME
    wanted=$(<"$FINK_HOME/requirements.lock")$'\n--\n'$(<"$FINK_HOME/fink_broker/infra/jars.lock")$'\n--'
    [[ $1 != tests ]] || for file in requirements-test requirements-fink-client; do
        wanted+=$'\n'$(<"$FINK_HOME/$file.lock")$'\n--'
    done
    [[ ! -r $FINK_SETUP/stamp ]] || stamp=$(<"$FINK_SETUP/stamp")
    if [[ $stamp != "$wanted"* || ! -x $FINK_SETUP/venv/bin/python ]]; then
        python=$(find_python) || exit
        "$python" -P -m fink_broker.infra.setup "$1" || exit
    fi
    export FINK_PYTHON=$FINK_SETUP/venv/bin/python
}

# Runs a command's Python module in place of this shell; -h or --help anywhere prints the help and needs no set-up.
run_command() { # command [argument...]
    local command=$1 argument
    shift
    for argument; do
        [[ $argument != -h && $argument != --help ]] || { help_of "$FINK_HOME/bin/fink-$command"; exit 0; }
    done
    ensure_setup broker
    exec "$FINK_PYTHON" -P -m "fink_broker.commands.$command" "$@"
}
