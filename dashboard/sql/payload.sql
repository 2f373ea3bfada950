-- What is in one event. $1: position; $2: at most so many characters of each. No row: there is no such event.
-- Index: the primary key.
select left(payload::text, $2), left(metadata::text, $2), length(payload::text) > $2 or length(metadata::text) > $2
from events where global_position = $1
