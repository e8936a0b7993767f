-- Asks the children of these runs to stop whose node is no longer active in the parent.
INSERT INTO run_inbox (run_id, type, node, data)
SELECT run.id, 'CancelRequested', NULL, '{"reason": "The parent run ended or went on without it.", "by": "engine"}'
FROM run JOIN unnest(%(id)s::uuid[], %(keep)s::text[]) AS u(id, keep) ON run.parent = u.id
WHERE run.ended_at IS NULL AND NOT (run.id::text = ANY(string_to_array(u.keep, ',')))
RETURNING run_id::text
