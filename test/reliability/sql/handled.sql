-- Everything that was handled, in the order in which it was.
select aggregate, version, position from handled order by seq
