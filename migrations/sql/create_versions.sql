-- Creates the table of the migrations that were applied here. Run under the migration lock.
create table if not exists rouse_migrations (
  version       int primary key,
  name          text not null,
  oldest_binary int not null,
  applied_at    timestamptz not null default clock_timestamp()
)
