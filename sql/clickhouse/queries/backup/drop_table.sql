drop table if exists {table:Identifier} sync
