"""What alert files are made of: tables, exported chats, and the messages in them, down to one checked alert."""
