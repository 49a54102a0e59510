-- Stops what a build that was killed has its server go on with; whoever asks holds the lock of builds.
-- parameters: prefix, what statements begin with that fill a table aside
kill query where current_database = currentDatabase() and startsWith(query, {prefix:String}) async
