-- Returns the version of the server as a number and for people, and the name of the database.
select current_setting('server_version_num')::int, split_part(current_setting('server_version'), ' ', 1), current_database()
