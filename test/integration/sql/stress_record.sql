-- What the recording projection does with one event: a row in seen, and one more in the tally of its aggregate.
-- $1: projection; $2: position; $3, $4: aggregate; $5: version; $6: who handles it.
with recorded as (
  insert into seen (projection, global_position, aggregate_type, aggregate_id, version, instance)
  values ($1, $2, $3, $4, $5, $6)
)
insert into tallies as t (aggregate_type, aggregate_id, events, last_version, out_of_order)
values ($3, $4, 1, $5, ($5::bigint <> 1)::int)
on conflict (aggregate_type, aggregate_id) do update
set events = t.events + 1, last_version = excluded.last_version,
    out_of_order = t.out_of_order + (excluded.last_version <> t.last_version + 1)::int
