-- What the numbers depend on: the server's version, and the settings that decide what a commit costs.
select split_part(version(), ' on ', 1),
       (select json_object_agg(name, current_setting(name)) from pg_settings
        where name in ('fsync', 'synchronous_commit', 'commit_delay', 'commit_siblings', 'full_page_writes', 'wal_sync_method',
                       'shared_buffers', 'max_wal_size', 'max_connections', 'synchronous_standby_names', 'server_version'))
