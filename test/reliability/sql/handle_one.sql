-- What the projection does with one event: a row in handled, and one more in the total of its aggregate.
-- $1: aggregate; $2: version; $3: position; $4: worker.
with written as (
  insert into handled (aggregate, version, position, worker) values ($1, $2, $3, $4)
)
insert into totals as t (aggregate, events, last_version) values ($1, 1, $2)
on conflict (aggregate) do update set events = t.events + 1, last_version = excluded.last_version
