"""`http`"""
CONFIG_SCHEMA: dict = {"type": "object"}
OUTPUT_SCHEMA: dict = {}
HELP = ""
