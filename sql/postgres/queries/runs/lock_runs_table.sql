-- Lets nobody begin or change a run until the transaction ends; everybody may read.
lock table simulation_runs in share row exclusive mode
