-- Returns whether PUBLIC may connect to this database, and the statement that takes that away. Index: those of the catalogs.
select exists (select from aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a where a.grantee = 0 and a.privilege_type = 'CONNECT'),
       format('revoke connect on database %I from public', d.datname)
from pg_database d where d.datname = current_database()
