-- Locks these runs for this transaction, leaving out those that another process is advancing.
SELECT id::text, workflow, version, status, priority, parent::text, parent_node, depth, last_seq
FROM run WHERE id = ANY(%(ids)s::uuid[])
FOR UPDATE SKIP LOCKED
