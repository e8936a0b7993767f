"""The first tour: from an empty account to a finished run in five steps."""
