-- Records an applied migration. $1: version; $2: name; $3: oldest binary that works on it.
insert into rouse_migrations (version, name, oldest_binary) values ($1, $2, $3)
