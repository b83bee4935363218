#!/bin/sh
# prepare-serving SOURCE TARGET: put a copy of the repository SOURCE at TARGET, whole or not at all, unless it is there.
set -eu
source=$1
target=$2
if [ -e "$target/generated.json" ]; then
    exit 0
fi
unfinished="$target.$(hostname).unfinished"
rm -rf "$unfinished"
mkdir -p "$unfinished"
cp -R "$source/." "$unfinished/"
# Another pod may have been faster; its copy is the same.
mv -T "$unfinished" "$target" 2>/dev/null || rm -rf "$unfinished"
[ -e "$target/generated.json" ]
