"""The main job as a user runs it, in processes of its own."""
