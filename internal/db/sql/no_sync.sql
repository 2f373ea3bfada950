-- Whether commits wait for a synchronous standby of which none is there. A role without pg_read_all_stats sees that there are
-- standbys, and not which; then nothing is said.
select current_setting('synchronous_standby_names') <> '' and current_setting('synchronous_commit') not in ('off', 'local')
   and not exists (select from pg_stat_replication where coalesce(sync_state, 'sync') in ('sync', 'quorum'))
