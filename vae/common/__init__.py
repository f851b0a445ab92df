"""Parameters, files, errors, the machine, threads and statistics, which every part uses."""
