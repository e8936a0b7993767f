-- Tasks whose worker fell silent: the attempt is lost, and the run hears of it, and when the worker was last heard of.
WITH lost AS (
    DELETE FROM task WHERE id IN (
        SELECT id FROM task WHERE lease_until < clock_timestamp() ORDER BY lease_until LIMIT %(limit)s
        FOR UPDATE SKIP LOCKED
    ) RETURNING run_id, node, attempt, worker, lease_until
)
INSERT INTO run_inbox (run_id, type, node, data)
SELECT run_id, 'TaskLost', node, json_build_object('attempt', attempt, 'worker', worker, 'alive',
    (extract(epoch FROM lease_until) * 1000000)::bigint - (%(seconds)s::float8 * 1000000)::bigint)
FROM lost
RETURNING run_id::text
