#!/bin/sh
# Makes the passwords that compose.yaml needs, and the files with them that its services read,
# in the folder `secrets` beside this file. Passwords that are there are kept.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
for name in postgres-password owner-password web-password redis-password \
    s3-admin-password s3-password; do
    # Digits and letters only: they go into URLs.
    [ -s "secrets/$name" ] || od -An -N24 -tx1 /dev/urandom | tr -d ' \n' > "secrets/$name"
done
# Seals secrets in the database: 32 bytes in base64. Keep a copy of it, apart from copies of the database.
[ -s secrets/encryption-key ] || head -c 32 /dev/urandom | base64 > secrets/encryption-key
password() { cat "secrets/$1"; }
rm -f secrets/database-url secrets/migrate.toml secrets/redis-url secrets/redis.acl \
    secrets/s3-key-id secrets/s3.json secrets/s3-admin.env
echo "postgres://genvid_web:$(password web-password)@postgres/genvid" > secrets/database-url
printf '[database]\nowner_url = "postgres://genvid_owner:%s@postgres/genvid"\n' \
    "$(password owner-password)" > secrets/migrate.toml
echo "redis://genvid:$(password redis-password)@redis/0" > secrets/redis-url
sed "s/PASSWORD/$(password redis-password)/" redis.acl > secrets/redis.acl
echo genvid > secrets/s3-key-id
cat > secrets/s3.json <<END
{
  "identities": [
    {
      "name": "admin",
      "credentials": [{"accessKey": "admin", "secretKey": "$(password s3-admin-password)"}],
      "actions": ["Admin"]
    },
    {
      "name": "genvid",
      "credentials": [{"accessKey": "genvid", "secretKey": "$(password s3-password)"}],
      "actions": ["Read:genvid", "Write:genvid", "List:genvid"]
    }
  ]
}
END
cat > secrets/s3-admin.env <<END
AWS_ACCESS_KEY_ID=admin
AWS_SECRET_ACCESS_KEY=$(password s3-admin-password)
END
# Services run as users of their own and must be able to read what is mounted into them; the
# folder keeps everybody else of this machine out.
chmod 0444 secrets/*
chmod 0700 secrets
echo "secrets are in $(pwd)/secrets"
