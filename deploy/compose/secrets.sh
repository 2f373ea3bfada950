#!/bin/sh
# Makes the passwords of compose.yaml where they are missing, in secrets/. The folder can only be
# entered by its owner; the files in it can be read by anybody, because a container sees them with
# the rights they have here, and workers run as a user that this machine does not know.
set -eu
cd "$(dirname "$0")"
umask 022
mkdir -p secrets
chmod 700 secrets
for role in owner worker appender; do
	[ -s "secrets/${role}_password" ] || od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"secrets/${role}_password"
	printf 'postgres:5432:shop:shop_%s:%s\n' "$role" "$(cat "secrets/${role}_password")" >"secrets/${role}_pgpass"
done
