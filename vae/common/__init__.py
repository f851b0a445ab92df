"""What every part uses: parameters, files, errors, the machine, threads, statistics."""
