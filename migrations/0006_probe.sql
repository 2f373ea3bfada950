-- 0006 probe: appends that ask at the same moment whether somebody sleeps do not take each other for a sleeper.
-- oldest binary that works on it: 2

-- The push: notify only if somebody sleeps. A sleeper holds the advisory lock S (two integers: 'rouS', the table's oid)
-- shared, so an exclusive try that fails means "wake me", unless it was another append that held S, which asked the same. That
-- happens to few appends; but each of them would notify, which keeps others from committing and wakes every process.
--
-- So whoever is refused tries to share S. If that is refused too, another append holds S alone, and while it does nobody can
-- sleep: the answer is no. Otherwise the other append is gone, and the second exclusive try tells.
-- One expression, because a cancel between two statements would leave the lock behind, and then nobody could sleep again.
create or replace function rouse_append_after() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  k int := (tg_relid::bigint - case when tg_relid::bigint > 2147483647 then 4294967296 else 0 end)::int;
begin
  if (case when pg_try_advisory_lock(1919907155, k) then not pg_advisory_unlock(1919907155, k)
           when not pg_try_advisory_lock_shared(1919907155, k) then false
           when not pg_advisory_unlock_shared(1919907155, k) then true
           when pg_try_advisory_lock(1919907155, k) then not pg_advisory_unlock(1919907155, k)
           else true end) then
    perform pg_notify('rouse_' || tg_relid, '');
  end if;
  return null;
end $$;
