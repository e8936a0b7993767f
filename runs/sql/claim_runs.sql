-- Locks these runs for this transaction, leaving out those that another process is advancing; whether facts wait for
-- each, and the database's time in microseconds.
SELECT id::text, workflow, version, status, priority, parent::text, parent_node, depth, last_seq,
    EXISTS (SELECT 1 FROM run_inbox WHERE run_inbox.run_id = run.id),
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
FROM run WHERE id = ANY(%(ids)s::uuid[])
FOR UPDATE SKIP LOCKED
