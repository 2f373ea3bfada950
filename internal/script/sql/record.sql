-- Records an applied migration of a program. $1: the name of its file; $2: its checksum.
-- Lock: that of the row. Index: the primary key.
insert into rouse.rouse_program_migrations (name, checksum) values ($1, $2)
