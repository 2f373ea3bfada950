-- As forms.sql, in the pipeline behind a handler's statements, where one of the worker's has a text that is not ASCII: texts are in UTF8 for
-- the rest of the transaction. No parameters.
select set_config('client_encoding', 'UTF8', true)
