-- The query that operators use, word for word.
SELECT projection_name, last_global_position,
       (SELECT MAX(global_position) FROM events) - last_global_position AS lag
FROM projection_checkpoints WHERE projection_name = 'scalable_projection';
