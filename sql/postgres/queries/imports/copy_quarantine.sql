copy quarantine (import_id, file, line, field, reason, raw_text) from stdin
