-- Returns the time before which events are old enough. $1: the age, in microseconds. Lock: none.
select clock_timestamp() - interval '1 microsecond' * $1::bigint
