-- Notes what was erased. $1: the sum of the stream; $2: up to which position; $3: the payload, null: deleted; $4: the position that was kept.
-- Index: the primary key. Lock: the row.
insert into rouse_erasures (stream, up_to, payload, last) values ($1::bytea, $2::bigint, $3::text::json, $4::bigint)
on conflict (stream, up_to) do update set payload = excluded.payload, last = excluded.last, at = clock_timestamp()
