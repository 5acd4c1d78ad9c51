#!/usr/bin/env bash
# Download real ZTF alerts, to make templates for the simulator from.
#
#   datasim/download_ztf_alert_data.sh [-o FOLDER] YYYYMMDD    a night of ZTF's public archive (can be 10 GB and more)
#   datasim/download_ztf_alert_data.sh [-o FOLDER] --wheel     the wheel of fink-science with 51 alerts (79 MB)
#   datasim/download_ztf_alert_data.sh -h                      this help
#
# FOLDER is var/download in the checkout unless -o says otherwise. An interrupted download goes on where it stopped;
# a file has its final name only after its checksum was found right. ZTF_ARCHIVE names a mirror of the archive.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
PYTHON=${FINK_PYTHON:-python3}
ARCHIVE=${ZTF_ARCHIVE:-https://ztf.uw.edu/alerts/public}

die() {
    echo "download_ztf_alert_data.sh: $1" >&2
    exit "${2:-1}"
}

help() {
    sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//; p;}' "${BASH_SOURCE[0]}"
}

# checksum ALGORITHM FILE
checksum() {
    "$PYTHON" -c 'import hashlib, sys; print(hashlib.file_digest(open(sys.argv[2], "rb"), sys.argv[1]).hexdigest())' "$1" "$2"
}

# fetch URL FILE: get the whole file, or the rest of it
fetch() {
    local code=0
    curl --fail --location --silent --show-error --retry 3 --connect-timeout 20 --continue-at - --output "$2" "$1" 2>"$TEMPORARY/log" || code=$?
    local said
    said=$(tail -n 1 "$TEMPORARY/log")
    case $code in
        0) ;;
        5 | 6 | 7 | 28 | 35 | 56) die "cannot reach $1: is there a network? (${said#curl: })" ;;
        18) die "the download of $1 broke off: run the same command again to go on" ;;
        33) # A server that cannot send the rest sends it all again.
            rm "$2"
            fetch "$1" "$2"
            ;;
        22) die "$1 is not there (${said#curl: })" ;;
        23) die "cannot write $2: is the disk full?" ;;
        *) die "cannot download $1 (${said#curl: })" ;;
    esac
}

# A night: its line in MD5SUMS is the proof both that it exists and that it is whole.
night() {
    [[ $1 =~ ^20[0-9]{6}$ ]] || die "'$1' is not a night: give it as YYYYMMDD" 2
    local name="ztf_public_$1.tar.gz" expected
    command -v curl >/dev/null || die "curl is not installed: install it with the system's package manager"
    fetch "$ARCHIVE/MD5SUMS" "$TEMPORARY/MD5SUMS"
    expected=$(awk -v name="$name" '$2 == name || $2 == "*" name {print $1}' "$TEMPORARY/MD5SUMS")
    [[ -n $expected ]] || die "the archive has no night $1: see $ARCHIVE/"
    if [[ -f $FOLDER/$name ]]; then
        [[ $(checksum md5 "$FOLDER/$name") == "$expected" ]] || die "$FOLDER/$name is damaged: remove it and run the same command again"
        echo "$FOLDER/$name is there already"
        return
    fi
    if [[ ! -f $FOLDER/$name.part || $(checksum md5 "$FOLDER/$name.part") != "$expected" ]]; then
        echo "downloading $ARCHIVE/$name"
        fetch "$ARCHIVE/$name" "$FOLDER/$name.part"
    fi
    accept md5 "$expected" "$FOLDER/$name"
    echo "make templates of it: python -m datasim.make_templates --avro $FOLDER/$name --out FILE"
}

wheel() {
    local name="fink_science-3.13.3-py3-none-any.whl" expected
    expected=$(sed -n 's/^WHEEL_SHA256 = "\(.*\)"$/\1/p' "$HERE/make_templates.py")
    if [[ -f $FOLDER/$name && $(checksum sha256 "$FOLDER/$name") == "$expected" ]]; then
        echo "$FOLDER/$name is there already"
        return
    fi
    "$PYTHON" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest "$TEMPORARY" fink-science==3.13.3 \
        >"$TEMPORARY/log" 2>&1 || die "pip could not download fink-science==3.13.3: is there a network? ($(tail -n 1 "$TEMPORARY/log"))"
    mv "$TEMPORARY/$name" "$FOLDER/$name.part"
    accept sha256 "$expected" "$FOLDER/$name"
    echo "make templates of it: python -m datasim.make_templates --wheel $FOLDER/$name"
}

# accept ALGORITHM EXPECTED FILE: give FILE.part its name if it is whole
accept() {
    if [[ $(checksum "$1" "$3.part") != "$2" ]]; then
        rm -f "$3.part"
        die "$3 arrived damaged and was removed: run the same command again"
    fi
    mv "$3.part" "$3"
    echo "$3: $1 is right"
}

FOLDER=${HERE%/*}/var/download
WHAT=
while (($#)); do
    case $1 in
        -h | --help) help; exit 0 ;;
        -o) [[ $# -ge 2 ]] || die "-o needs a folder" 2; FOLDER=$2; shift 2 ;;
        --wheel) WHAT=wheel; shift ;;
        -*) die "unknown option $1; -h shows the known ones" 2 ;;
        *) WHAT=$1; shift ;;
    esac
done
[[ -n $WHAT ]] || die "give a night as YYYYMMDD, or --wheel; -h says more" 2
mkdir -p "$FOLDER" 2>/dev/null || die "cannot make the folder $FOLDER"
FOLDER=$(cd "$FOLDER" && pwd -P)
TEMPORARY=$(mktemp -d "$FOLDER/.download.XXXXXX") || die "cannot write in $FOLDER"
trap 'rm -rf "$TEMPORARY"' EXIT
if [[ $WHAT == wheel ]]; then wheel; else night "$WHAT"; fi
