-- Leases free tasks of a plane to a worker: the ones it was told of, or the most urgent ones, with their configs.
-- Types that this worker does not know are left for a newer one. Plan: task_free, then primary keys.
-- A lease carries a fresh fencing token; results are recorded only with it.
-- One more loss and a suspect fails for good: a worker holds only one of them at a time, so that a task that kills its
-- worker again and again does not take its neighbours along (hazard P6).
UPDATE task SET lease_until = clock_timestamp() + make_interval(secs => %(seconds)s),
    lease_token = nextval('lease_token'), leased_at = clock_timestamp(), worker = %(worker)s
FROM (
    SELECT id, run_id, input_seq FROM task
    WHERE lease_until IS NULL AND plane = %(plane)s AND type = ANY(%(types)s)
        AND (%(ids)s::bigint[] IS NULL OR id = ANY(%(ids)s::bigint[]))
        AND (losses < %(suspect)s OR id = (
            SELECT id FROM task
            WHERE lease_until IS NULL AND plane = %(plane)s AND type = ANY(%(types)s) AND losses >= %(suspect)s
                AND NOT EXISTS (
                    SELECT 1 FROM task WHERE lease_until IS NOT NULL AND worker = %(worker)s AND losses >= %(suspect)s
                )
            ORDER BY priority, id LIMIT 1
        ))
    ORDER BY priority, id LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
) AS free JOIN run_event AS event ON event.run_id = free.run_id AND event.seq = free.input_seq
WHERE task.id = free.id
RETURNING task.id, task.run_id::text, task.node, attempt, task.type, plane, priority, task.input_seq, timeout,
    lease_token, event.data
