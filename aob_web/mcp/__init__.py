"""AOB as an MCP server: what agents outside may do here, over the same services and with the same rights as by REST."""

PATH = "/mcp"
