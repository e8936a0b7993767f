"""Python functions that workflows may call: AOB's own, and those that the operator installs."""
