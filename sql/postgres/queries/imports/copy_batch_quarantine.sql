copy quarantine (import_id, batch_number, file, line, field, reason, raw_text) from stdin
