-- The server: its version as a number and for people, and the database.
select current_setting('server_version_num')::int, split_part(current_setting('server_version'), ' ', 1), current_database()
