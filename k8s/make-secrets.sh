#!/bin/sh
# Makes one random secret per file in a new folder. Existing files are kept, so running it twice is safe.
set -eu
folder=${1:?usage: make-secrets.sh FOLDER}
umask 077
mkdir -p "$folder"
# The folder is private. The files are readable: compose mounts them as they are for the containers' own user.
for name in postgres_password owner_password api_password worker_password dispatcher_password auditor_password \
            redis_password key_pepper; do
    [ -s "$folder/$name" ] || head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' > "$folder/$name"
    chmod 644 "$folder/$name"
done
