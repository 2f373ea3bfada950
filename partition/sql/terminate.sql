-- Ends the sessions of dead instances that still own partitions of a projection, so that a frozen or cut-off process
-- holds no row of the read model any longer: those that hold its presence ('rouP') and those that work for it ('rouW',
-- taken by every working transaction). Returns their number. Leaves out the sessions that the role may not end. $1: projection.
select count(*) filter (where pg_terminate_backend(l.pid))
from pg_locks l join pg_stat_activity a using (pid)
where (pg_has_role(a.usesysid, 'usage') or pg_has_role('pg_signal_backend', 'usage') and a.usename not in (select rolname from pg_roles where rolsuper))
  and l.locktype = 'advisory' and l.objsubid = 2 and l.classid in (1919907152, 1919907159) and l.granted
  and l.database = (select oid from pg_database where datname = current_database())
  and l.objid in (
    select m.presence::oid
    from rouse.rouse_members m
    where not m.alive and m.presence is not null
      and m.instance_id in (select owner from rouse.projection_checkpoints where projection_name = $1))
