"""Writes the pages that are made from the code: `python -m docs.generate`."""

from __future__ import annotations

import json
from pathlib import Path

import grimp

from workflows.core.document import DOCUMENT_SCHEMA, DocumentLimits
from workflows.core.language import callables
from workflows.nodes.reading import rows
from workflows.nodes.registry import COMMON_ERRORS, TASK_ERRORS, NodeType, node_types

HERE = Path(__file__).parent
PACKAGES = ("cli", "embedded", "aob_web", "worker", "runs", "workflows")
NOTE = "<!-- Written by `make docs` from the code; do not edit. -->\n\n"


def main() -> None:
    (HERE / "reference.md").write_text(reference(), encoding="utf-8")
    (HERE / "modules.md").write_text(modules(), encoding="utf-8")
    (HERE / "document.schema.json").write_text(json.dumps(DOCUMENT_SCHEMA, indent=2) + "\n", encoding="utf-8")


def reference() -> str:
    """Node types, expression functions and limits, from the registry."""
    lines = [NOTE + "# Workflow reference\n"]
    lines.append("The document's JSON Schema is [document.schema.json](document.schema.json).\n")
    lines.append("## Node types\n")
    for node_type in node_types().values():
        lines += _node_type(node_type)
    lines += _common_errors()
    lines.append("## Functions in expressions\n")
    lines.append(
        "CEL's operators, strings, math, encoders, bindings and optional extensions are there; these are most used.\n"
    )
    lines.append("| function | meaning | example | gives |\n| --- | --- | --- | --- |")
    for function in callables():
        result = json.dumps(function.result, ensure_ascii=False).replace("|", "\\|")
        example = function.example.replace("|", "\\|")
        called = function.signature if function.on is None else f"{function.on}.{function.signature}"
        lines.append(f"| `{called}` | {function.help} | `{example}` | `{result}` |")
    lines.append("\n## Limits of a document\n\n| limit | default | setting |\n| --- | --- | --- |")
    limits = DocumentLimits()
    for name in DocumentLimits.__struct_fields__:
        lines.append(f"| {name} | {getattr(limits, name):,} | `AOB_{name.upper()}` |")
    return "\n".join(lines) + "\n"


def _node_type(node_type: NodeType) -> list[str]:
    lines = [f"### `{node_type.name}` – {node_type.title}\n", f"{node_type.help}\n"]
    ports = ", ".join(f"`{port}`" for port in (*node_type.ports, "error"))
    facts = f"Kind: {node_type.kind}. Ports: {ports}."
    if node_type.is_task:
        timeout = f"{node_type.timeout:g} s" if node_type.timeout is not None else "none of its own"
        facts += f" Retry: {node_type.retry}. Timeout: {timeout}."
    lines.append(facts + "\n")
    lines.append("| config | type | required | read as | what |\n| --- | --- | --- | --- | --- |")
    for row in rows(node_type):
        required = "yes" if row.required else ""
        default = f" (default `{json.dumps(row.default)}`)" if row.has_default else ""
        kind = row.kind.replace("|", "\\|")
        lines.append(f"| `{row.path}` | {kind} | {required} | {row.read_as} | {row.text}{default} |")
    lines.append("\n```json\n" + json.dumps({"type": node_type.name, "config": node_type.example}, indent=2) + "\n```\n")
    if node_type.errors:
        lines.append("| error | what happened | what to do |\n| --- | --- | --- |")
        lines += [f"| `{note.code}` | {note.meaning} | {note.hint} |" for note in node_type.errors]
        lines.append("")
    return lines


def _common_errors() -> list[str]:
    lines = ["### Errors of every node\n", "| error | what happened | what to do |\n| --- | --- | --- |"]
    lines += [f"| `{note.code}` | {note.meaning} | {note.hint} |" for note in (*TASK_ERRORS, *COMMON_ERRORS)]
    return [*lines, ""]


def modules() -> str:
    """The packages and which of them import which, as the code is now."""
    graph = grimp.build_graph(*PACKAGES)
    lines = [
        NOTE + "# Modules\n",
        "Arrows are imports between packages, with their number.\n",
        "```mermaid",
        "flowchart TD",
    ]
    rooms = [
        "cli", "embedded", "aob_web", "worker", "runs", "runs.core", "workflows", "workflows.core", "workflows.nodes",
    ]  # fmt: skip

    def room(module: str) -> str:
        return max((one for one in rooms if module == one or module.startswith(f"{one}.")), key=len)

    for one in rooms:
        lines.append(f'    {one.replace(".", "_")}["{one}"]')
    counts: dict[tuple[str, str], int] = {}
    for module in sorted(graph.modules):
        for imported in sorted(graph.find_modules_directly_imported_by(module)):
            pair = (room(module), room(imported))
            if pair[0] != pair[1]:
                counts[pair] = counts.get(pair, 0) + 1
    for (source, target), count in sorted(counts.items()):
        lines.append(f"    {source.replace('.', '_')} -->|{count}| {target.replace('.', '_')}")
    lines += ["```\n", "| module | what it is for |\n| --- | --- |"]
    for module in sorted(graph.modules):
        summary = _summary(module)
        if summary and "migrations" not in module:
            lines.append(f"| `{module}` | {summary} |")
    return "\n".join(lines) + "\n"


def _summary(module: str) -> str:
    import ast

    path = HERE.parent / (module.replace(".", "/") + ".py")
    if not path.exists():
        path = HERE.parent / module.replace(".", "/") / "__init__.py"
    doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return doc.split("\n\n")[0].replace("\n", " ").replace("|", "\\|")


if __name__ == "__main__":
    main()
