-- Notes an archive none of whose events is gone. $1: first position; $2: last; $3: how many events; $4: sha256; $5: path; $6: the filter.
-- It follows the last archive without a hole, or raises unique_violation or returns no row, because another process was faster.
insert into rouse_archives (first_position, last_position, events, sha256, path, streams, removed_to)
select $1::bigint, $2::bigint, $3::bigint, $4::bytea, $5::text, $6::bytea, $1::bigint - 1
where $1::bigint = (select coalesce(max(last_position), 0) + 1 from rouse_archives)
returning first_position
