#!/bin/sh
# backup-redis FOLDER KEEP: write a snapshot of the Redis that the command in REDIS reaches, and keep the last KEEP.
set -eu
folder=$1
keep=$2
name="semface-$(date -u +%Y%m%dT%H%M%SZ).rdb"
# REDIS is a command with its options.
# shellcheck disable=SC2086
$REDIS --rdb "$folder/.unfinished"
[ "$(head -c 5 "$folder/.unfinished")" = REDIS ]
mv "$folder/.unfinished" "$folder/$name"
find "$folder" -name 'semface-*.rdb' | sort -r | tail -n +"$((keep + 1))" | xargs -r rm --
echo "$name"
