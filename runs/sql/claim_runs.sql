-- Takes away the tasks whose results are about to be recorded, only under their leases' own tokens (fencing), and locks
-- these runs for this transaction, leaving out those that another process is advancing. At least one row: the tasks that
-- were still leased, the database's time in microseconds, and a run with whether facts wait for it, or nulls.
-- In one statement, because an effect waits for each of them.
WITH done AS (
    DELETE FROM task USING unnest(%(tasks)s::bigint[], %(tokens)s::bigint[]) AS u(id, token)
    WHERE task.id = u.id AND task.lease_token = u.token
    RETURNING task.id
), held AS (
    SELECT id, workflow, version, status, priority, parent, parent_node, depth, last_seq
    FROM run WHERE id = ANY(%(ids)s::uuid[])
    FOR UPDATE SKIP LOCKED
)
SELECT held.id::text, workflow, version, status, priority, parent::text, parent_node, depth, last_seq,
    EXISTS (SELECT 1 FROM run_inbox WHERE run_inbox.run_id = held.id),
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
    (SELECT array_agg(done.id) FROM done)
FROM (SELECT 1) AS always LEFT JOIN held ON true
