-- Creates the table of the migrations that programs have applied beside Rouse's own. Run under the migration lock.
create table if not exists rouse.rouse_program_migrations (
  name       text primary key,
  checksum   text not null,
  applied_at timestamptz not null default clock_timestamp()
)
