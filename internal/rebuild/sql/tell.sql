-- Tells the members that they should look. $1: the schema of the log, or ''. Lock: that of notifications, at the commit.
select pg_notify('rouse_' || to_regclass(case when $1::text = '' then 'events' else format('%I.events', $1::text) end)::oid || '_members', '')
