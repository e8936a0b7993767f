"""The core node types in the order in which the palette shows them."""

from __future__ import annotations

from workflows.nodes import (
    delay,
    fail,
    function,
    http,
    log,
    loop,
    map,
    signal,
    subworkflow,
    switch,
    transform,
)
from workflows.nodes.registry import NodeType

NODE_TYPES: tuple[NodeType, ...] = (
    transform.NODE_TYPE,
    switch.NODE_TYPE,
    NodeType(
        name="http",
        kind="effect",
        title="HTTP request",
        help=http.HELP,
        icon="globe",
        category="Actions",
        config_schema=http.CONFIG_SCHEMA,
        output_schema=http.OUTPUT_SCHEMA,
        retry="standard",
        timeout=60.0,
        example={"method": "GET", "url": "{{ inputs.url }}"},
    ),
    NodeType(
        name="function",
        kind="effect",
        title="Function",
        help=function.HELP,
        icon="code",
        category="Actions",
        config_schema=function.CONFIG_SCHEMA,
        output_schema=function.OUTPUT_SCHEMA,
        parts={"name": "literal", "version": "literal"},
        retry="standard",
        timeout=300.0,
        example={"name": "text.parse_lines", "args": {"source": "{{ inputs.log }}"}},
    ),
    map.NODE_TYPE,
    loop.NODE_TYPE,
    delay.NODE_TYPE,
    signal.NODE_TYPE,
    subworkflow.NODE_TYPE,
    fail.NODE_TYPE,
    log.NODE_TYPE,
)
