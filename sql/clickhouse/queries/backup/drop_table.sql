-- What an earlier attempt left; nothing where there is none.
drop table if exists {table:Identifier} sync
