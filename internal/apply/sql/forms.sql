-- Between the handler and the worker's own statements, where the server has reported that texts or strings are in another form: for the
-- rest of the transaction, texts are in UTF8, and a backslash in a string is one. No parameters, which that would bend.
set local client_encoding = 'UTF8';
set local standard_conforming_strings = on
