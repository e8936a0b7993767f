-- Leases anew what is leased to a worker without its knowledge: the answer to its commit was lost, so it never began.
-- Not what ran out: that may be an attempt which this worker began and stopped when it could not renew the lease.
-- Plan: task_lease (few rows are leased), then primary keys.
UPDATE task SET lease_until = clock_timestamp() + make_interval(secs => %(seconds)s), lease_token = nextval('lease_token')
FROM run_event AS event
WHERE task.worker = %(worker)s AND task.lease_until > clock_timestamp() AND NOT task.id = ANY(%(held)s::bigint[])
    AND event.run_id = task.run_id AND event.seq = task.input_seq
RETURNING task.id, task.run_id::text, task.node, attempt, task.type, plane, priority, task.input_seq, timeout,
    lease_token, event.data
