-- Notes up to where the events of an archive are gone, and behind which position the log is whole now.
-- $1: the first position of the archive; $2: up to where. Lock: the rows.
with noted as (
  update rouse_archives set removed_to = $2::bigint where first_position = $1::bigint
)
update rouse_retention set whole_from = coalesce((
  select max(n.removed_to)
  from (select first_position, case when first_position = $1::bigint then $2::bigint else removed_to end as removed_to from rouse_archives) n
  where n.removed_to >= n.first_position), 0)
