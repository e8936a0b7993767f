"""The real system under load while a seeded adversary breaks it: `make chaos MINUTES=n SEED=s`."""
