-- Reports whether the table of snapshots is there: nobody needs it, and its owner may have dropped it. Lock: none.
select to_regclass('rouse_snapshots') is not null
