"""Single faults, each done once to the real system: what must hold, and how soon it is well again."""
