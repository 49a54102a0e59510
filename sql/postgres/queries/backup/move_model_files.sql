-- Point models to the folder that their files are in now; both folders end with a slash.
update ml_models
set storage_uri = %(folder_uri)s || substr(storage_uri, length(%(old_folder_uri)s) + 1)
where starts_with(storage_uri, %(old_folder_uri)s) and %(folder_uri)s <> %(old_folder_uri)s
