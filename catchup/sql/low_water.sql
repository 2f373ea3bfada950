-- Second of three: the lowest position that a transaction now holding K could still fill, less one, and how many hold
-- K. A null low water means that none does. Then the states of the append trigger and of the push trigger. An A for the
-- first in this statement, which is later than the head, means that every append made while the trigger was off has
-- ended, because ALTER TABLE waits for all writers. W: it looks at the wrong sequence, which its arguments name for this table
-- (migration 14), as if it were off.
-- $1: oid of the sequence; $2: oid of events; $3: oid of this database. The key's 40 bits are unfolded around the head.
-- Cost: 0.2 to 0.45 ms, most of it for walking the lock table.
with h as materialized (select coalesce(pg_sequence_last_value($1::bigint::oid::regclass), 0) as h)
select min(h.h + (((((l.classid::bigint << 32) | l.objid::bigint) & 1099511627775) - h.h + 549755813888) & 1099511627775)
           - 549755813888),
       count(l.objid),
       coalesce((select case when a.args[1]::bigint = $2::bigint and a.args[2]::bigint <> $1::bigint and pg_relation_filenode(a.args[2]::oid) is not null then 'W'
                             else t.tgenabled::text end
                 from pg_trigger t, lateral (select string_to_array(encode(t.tgargs, 'escape'), E'\\000')) a (args)
                 where t.tgrelid = $2::bigint::oid and t.tgname = 'rouse_append_before'), ''),
       coalesce((select t.tgenabled::text from pg_trigger t
                 where t.tgrelid = $2::bigint::oid and t.tgname = 'rouse_append_after'), '')
from h, pg_locks l
where l.locktype = 'advisory' and l.database = $3::bigint::oid and l.objsubid = 1 and l.mode = 'ShareLock'
  and l.classid::bigint >> 8 = ($2::bigint & 16777215)
