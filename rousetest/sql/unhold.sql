-- Lets the trigger hold nothing any more. No parameters.
update rousetest.clock set held = false
