#!/bin/sh
# Runs once, when the PostgreSQL container makes its data folder: the roles of postgresql.md,
# so that the server that runs knows no password of the tables' owner.
set -eu
psql -v ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres \
    -v owner="$(cat /run/secrets/owner-password)" \
    -v web="$(cat /run/secrets/web-password)" <<'END'
CREATE ROLE genvid_owner LOGIN PASSWORD :'owner';
CREATE ROLE genvid_app NOLOGIN;
CREATE ROLE genvid_worker NOLOGIN;
CREATE ROLE genvid_web LOGIN NOINHERIT PASSWORD :'web' IN ROLE genvid_app, genvid_worker;
CREATE DATABASE genvid OWNER genvid_owner;
REVOKE CONNECT ON DATABASE genvid FROM PUBLIC;
GRANT CONNECT ON DATABASE genvid TO genvid_web;
END
