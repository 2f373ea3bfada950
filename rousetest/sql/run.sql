-- Lets the clock of a test run, as that of the database does. No parameters.
update rousetest.clock set stands_at = null
