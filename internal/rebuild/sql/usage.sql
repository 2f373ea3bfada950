-- Returns the statements that let those use a schema who have rights on some tables. $1: the tables; $2: the schema.
-- Lock: none. Index: those of the catalogs.
select distinct format('grant usage on schema %I to %s', $2::text, case role when 0 then 'public' else quote_ident(pg_get_userbyid(role)) end)
from (select a.grantee as role from pg_class c, aclexplode(c.relacl) a where c.oid = any ($1::oid[]) and c.relacl is not null
      union select relowner from pg_class where oid = any ($1::oid[])) r
where role = 0 or pg_get_userbyid(role) <> current_user
