# What `server -dev` of Vault and OpenBao merges into its own settings. There is
# no listener here: `-dev` opens one of its own, and a second one on the same
# port would fail.

# A laptop's mlock limit is often too small, and a development server holds
# nothing worth it.
disable_mlock = true

# Leases are short, so that their end can be watched.
default_lease_ttl = "1h"
max_lease_ttl     = "24h"

# Lets `sys/raw` show what is stored. Never on a production server.
raw_storage_endpoint = true
