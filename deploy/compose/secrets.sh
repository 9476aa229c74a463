#!/bin/sh
# Makes the secrets that compose.yaml hands to the containers, once: what is there stays. Keep a copy of encryption_keys
# apart from the backups of the database: without it, addresses and texts can't be read again.
set -eu
folder="$(cd "$(dirname "$0")" && pwd)/secrets"
mkdir -p "$folder"

# Readable by all: the container's user (10001) reads the file as it is here; who may enter the folder says the machine.
chmod 711 "$folder"
keep() {
  if [ ! -s "$folder/$1" ]; then
    printf '%s\n' "$2" > "$folder/$1.new"
    chmod 444 "$folder/$1.new"
    mv "$folder/$1.new" "$folder/$1"
    echo "made $1"
  fi
}
random() { head -c "$1" /dev/urandom | base64 | tr -d '\n'; }
plain() { random "$1" | tr '+/' '-_' | tr -d '='; }

keep postgres_password "$(plain 24)"
keep database_password "$(plain 24)"
keep database_url "postgresql://clarion:$(cat "$folder/database_password")@postgres/clarion"
keep encryption_keys "k1:$(random 32)"
keep admin_key "$(plain 32)"
