-- Keeps snapshots from being made until the end of the transaction. Whoever is about to make one waits, and then sees what was erased or removed.
-- Lock: SHARE ROW EXCLUSIVE on the table, which reads do not mind.
lock table rouse_snapshots in share row exclusive mode
