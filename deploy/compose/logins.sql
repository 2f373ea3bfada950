-- For psql: the roles that log in, with the passwords of secrets/.
\set worker `cat /run/secrets/worker_password`
\set appender `cat /run/secrets/appender_password`
select 'create role shop_worker login in role rouse_worker'
where not exists (select from pg_roles where rolname = 'shop_worker') \gexec
select 'create role shop_appender login in role rouse_appender'
where not exists (select from pg_roles where rolname = 'shop_appender') \gexec
alter role shop_worker password :'worker';
alter role shop_appender password :'appender';

-- What your projections write is yours to grant, a line for each of your tables:
--   grant select, insert, update, delete on orders to rouse_worker;
