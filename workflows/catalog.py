"""The catalog of workflows: published ones and drafts alike, searched, filtered, sorted, by keyset. Changes nothing."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from django.db import connection

from workflows.core.errors import AobError
from workflows.models import Tag
from workflows.nodes.registry import node_types

MAX_PAGE = 100
MAX_SEARCH = 200
MAX_TAGS = 200

# One row for each name, with its newest version and its draft by index. The keys of a sort are (text, name), so that a
# page goes on exactly after the last row of the one before. The catalog has thousands of rows where there are millions
# of runs; documents are read only where node types are asked for.
_CATALOG = """
WITH entry AS (
    SELECT w.name, w.description, w.id AS workflow, newest.number, newest.version_id, newest.created_at AS pushed_at,
           newest.created_by_id, draft.updated_at AS drawn_at, draft.updated_by_id AS drawn_by,
           draft.name IS NOT NULL AND draft.updated_at > newest.created_at AS is_ahead,
           draft.document AS drawn, w.created_at AS made_at
    FROM workflow w
    LEFT JOIN LATERAL (SELECT * FROM workflow_version v WHERE v.workflow_id = w.id ORDER BY number DESC LIMIT 1) newest
        ON true
    LEFT JOIN draft ON draft.name = w.name
    UNION ALL
    SELECT d.name, '', NULL, NULL, NULL, NULL, NULL, d.updated_at, d.updated_by_id, true, d.document, d.updated_at
    FROM draft d WHERE NOT EXISTS (SELECT 1 FROM workflow w WHERE w.name = d.name)
), dated AS (
    SELECT *, greatest(pushed_at, drawn_at) AS edited_at,
           CASE WHEN drawn_at > pushed_at OR pushed_at IS NULL THEN drawn_by ELSE created_by_id END AS edited_by
    FROM entry
), keyed AS (
    SELECT *, {key} AS key FROM dated WHERE {fits}
)
SELECT keyed.name, description, number, version_id, is_ahead, edited_at, made_at, account.username, key,
       (SELECT coalesce(json_agg(t.name ORDER BY t.name), '[]') FROM tag t WHERE t.workflow_id = keyed.workflow)::text,
       (SELECT document FROM version WHERE hash = version_id)
FROM keyed LEFT JOIN auth_user account ON account.id = edited_by
WHERE {after} ORDER BY key COLLATE "C" {way}, keyed.name COLLATE "C" {way} LIMIT %(size)s
"""
_DATE = "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US')"
_SORTS = {
    "name": ("lower(name)", "ASC"),
    "edited": (_DATE.format("edited_at"), "DESC"),
    "made": (_DATE.format("made_at"), "DESC"),
}
_HAS_TYPE = (
    "(EXISTS (SELECT 1 FROM version v WHERE v.hash = version_id AND v.document LIKE ANY(%(types)s))"
    " OR version_id IS NULL AND drawn LIKE ANY(%(types)s))"
)


class CatalogError(AobError):
    """A cursor that no list gave."""


def catalog(
    *,
    search: str = "",
    tag: str = "",
    node_type: str = "",
    sort: str = "name",
    limit: int = 25,
    cursor: str | None = None,
) -> dict[str, Any]:
    """A page of workflows and drafts. `search` looks into names, descriptions and the node types that are used."""
    key, way = _SORTS[sort if sort in _SORTS else "name"]
    fits, parameters = ["true"], {"size": max(1, min(limit, MAX_PAGE)) + 1}
    values: dict[str, Any] = dict(parameters)
    if search:
        found = [one.name for one in node_types().values() if _names(one, search[:MAX_SEARCH].lower())]
        fits.append(f"(name ILIKE %(search)s OR description ILIKE %(search)s{f' OR {_HAS_TYPE}' if found else ''})")
        values |= {"search": f"%{_escaped(search[:MAX_SEARCH])}%", "types": _patterns(found)}
    if tag:
        fits.append("EXISTS (SELECT 1 FROM tag t WHERE t.workflow_id = workflow AND t.name = %(tag)s)")
        values["tag"] = tag
    if node_type:
        fits.append(_HAS_TYPE.replace("%(types)s", "%(wanted)s"))
        values["wanted"] = _patterns([node_type])
    after = "true"
    if cursor:
        values["key"], values["name"] = _decoded(cursor)
        sign = ">" if way == "ASC" else "<"
        after = f'(key COLLATE "C", keyed.name COLLATE "C") {sign} (%(key)s, %(name)s)'
    statement = _CATALOG.format(key=key, way=way, fits=" AND ".join(fits), after=after)
    with connection.cursor() as database:
        database.execute(statement, values)
        rows = database.fetchall()
    size = values["size"] - 1
    following = _encoded(rows[size - 1][8], rows[size - 1][0]) if len(rows) > size else None
    return {"items": [_view(row) for row in rows[:size]], "next": following}


def tag_names() -> list[str]:
    """The tags that are in use, for a filter."""
    return list(Tag.objects.order_by("name").values_list("name", flat=True).distinct()[:MAX_TAGS])


def _names(node_type: Any, text: str) -> bool:
    return text in node_type.name.lower() or text in node_type.title.lower()


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _patterns(types: list[str]) -> list[str]:
    return [f'%"type":{_escaped(json.dumps(name))}%' for name in types]


def _view(row: Any) -> dict[str, Any]:
    name, description, number, version, is_ahead, edited_at, made_at, by, _, tags, document = row
    return {
        "name": name,
        "description": description,
        "number": number,
        "version": version,
        "is_published": version is not None,
        "has_draft": bool(is_ahead),
        "edited_at": edited_at,
        "made_at": made_at,
        "by": by,
        "tags": json.loads(tags),
        "types": _types(document),
    }


def _types(document: str | None) -> list[str]:
    nodes = json.loads(document).get("nodes", {}) if document else {}
    return sorted({node["type"] for node in nodes.values()})


def _encoded(key: str, name: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([key, name]).encode()).decode()


def _decoded(cursor: str) -> tuple[str, str]:
    try:
        key, name = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        if isinstance(key, str) and isinstance(name, str) and "\0" not in key + name:
            return key, name
    except (ValueError, TypeError, binascii.Error):
        pass
    raise CatalogError("cursor_invalid", "This cursor was not given by a list.", "/cursor", "Start without a cursor.")
