-- Takes the waiting facts of claimed runs, oldest first; they become events in the same transaction.
DELETE FROM run_inbox WHERE id IN (
    SELECT id FROM run_inbox WHERE run_id = ANY(%(ids)s::uuid[]) ORDER BY id LIMIT %(limit)s
)
RETURNING id, run_id::text, type, node, data
