-- 0012 room: what makes a version of a checkpoint's row large.
-- oldest binary that works on it: 2
-- locks: projection_checkpoints
--
-- Takes ACCESS EXCLUSIVE on projection_checkpoints for a moment; nothing is rewritten. Earlier binaries leave the column as it is.

-- room: blanks, or null mostly. While somebody holds a snapshot, a row that moves from page to page is made so large for one version
-- that it finds an empty page, and has that for its next versions (catchup/spot.go). It is not to be compressed.
alter table projection_checkpoints add column room text;
alter table projection_checkpoints alter column room set storage plain;
