insert into schema_migrations (number, name, sha256)
values (%(number)s, %(name)s, %(sha256)s)
