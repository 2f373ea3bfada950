-- Notes that an archive was written anew. $1: its first position; $2: the sum that it had; $3: its events; $4: its sum; $5: its filter; $6: its path.
-- Lock: the row. Index: the primary key.
update rouse_archives set events = $3::bigint, sha256 = $4::bytea, streams = $5::bytea, path = $6::text
where first_position = $1::bigint and sha256 = $2::bytea
