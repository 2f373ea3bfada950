-- Returns what was erased. Index: none, it reads the whole table, which has a row for each time that an aggregate was forgotten. Lock: none.
select stream, up_to, payload::text, last from rouse_erasures order by up_to
