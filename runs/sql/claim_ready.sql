-- The next runs that need a coordinator: those with facts in their inbox, and those whose time has come.
-- Plans: run_inbox_run (the inbox is nearly empty always), run_wake. Locks: the rows of these runs, skipping
-- what another process holds already while it looks for them, so that each of many coordinators finds others.
-- Runs that are to rest are left out. The rows come from where they were locked:
-- only there are they as their last writer left them.
WITH told AS (
    SELECT id, workflow, version, status, priority, parent, parent_node, depth, last_seq
    FROM run WHERE id IN (
        SELECT DISTINCT run_id FROM run_inbox WHERE run_id <> ALL(%(resting)s::uuid[]) LIMIT 2 * %(limit)s
    )
    LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), due AS (
    SELECT id, workflow, version, status, priority, parent, parent_node, depth, last_seq
    FROM run WHERE wake_at <= clock_timestamp() AND id <> ALL(%(resting)s::uuid[])
    ORDER BY priority, wake_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), held AS (
    SELECT * FROM told UNION ALL SELECT * FROM due WHERE id NOT IN (SELECT id FROM told)
)
SELECT id::text, workflow, version, status, priority, parent::text, parent_node, depth, last_seq,
    EXISTS (SELECT 1 FROM run_inbox WHERE run_inbox.run_id = held.id),
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, NULL
FROM held
