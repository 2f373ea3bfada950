-- Returns the oid of the table of events, which the channels are named after. Lock: none. Index: none.
select 'rouse.events'::regclass::oid
