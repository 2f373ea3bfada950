-- Deletes the tags of the events of an aggregate, and of events that have left the log. Returns how many events had some.
-- $1, $2: the aggregate; $3: ids of events in archives. Index: the unique one over streams, event_tags_event_id_idx. Lock: the rows.
with gone as (
  delete from event_tags
  where event_id in (select event_id from events where aggregate_type = $1 and aggregate_id = $2 union all select unnest($3::text[])::uuid)
  returning event_id
)
select count(distinct event_id) from gone
