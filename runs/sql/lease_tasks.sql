-- Leases free tasks of a plane to a worker: the ones it was told of, or the most urgent ones.
-- Types that this worker does not know are left for a newer one. Plan: task_free. A lease carries a fresh fencing token; results are recorded only with it.
UPDATE task SET lease_until = clock_timestamp() + make_interval(secs => %(seconds)s),
    lease_token = nextval('lease_token'), leased_at = clock_timestamp(), worker = %(worker)s
WHERE id IN (
    SELECT id FROM task
    WHERE lease_until IS NULL AND plane = %(plane)s AND type = ANY(%(types)s) AND (%(ids)s::bigint[] IS NULL OR id = ANY(%(ids)s::bigint[]))
    ORDER BY priority, id LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
RETURNING id, run_id::text, node, attempt, type, plane, priority, input_seq, timeout, lease_token
