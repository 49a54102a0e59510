-- grain: one row; none when this name and version are stored.
insert into strategies (name, version, category, description, config_json, config_hash)
values (
    %(name)s,
    %(version)s,
    %(category)s,
    %(description)s,
    %(config_json)s,
    %(config_hash)s
)
on conflict (name, version) do nothing
