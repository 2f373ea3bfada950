-- Reports whether this transaction holds K under a key that was taken before a position was given out, so that it is lower.
-- $1: the position. The key's 40 bits are unfolded around it.
select exists (
  select from pg_locks l
  where l.pid = pg_backend_pid() and l.locktype = 'advisory' and l.objsubid = 1 and l.mode = 'ShareLock' and l.granted
    and l.classid::bigint >> 8 = ('events'::regclass::oid::bigint & 16777215)
    and (((((l.classid::bigint << 32) | l.objid::bigint) & 1099511627775) - $1::bigint + 549755813888) & 1099511627775) - 549755813888 < 0)
