#!/bin/sh
# Runs once, when the volume is empty. Clarion's role owns its database and is no superuser: what PostgreSQL keeps for
# superusers stays for whoever has to look what is wrong when every other connection is taken.
psql --set ON_ERROR_STOP=1 --username postgres --dbname postgres --set password="$(cat /run/secrets/database_password)" <<'SQL'
CREATE ROLE clarion LOGIN PASSWORD :'password';
CREATE DATABASE clarion OWNER clarion;
SQL
