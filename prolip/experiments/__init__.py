"""Named tables of configurations and seeds: trained, evaluated and compared, resumable."""
