-- The next runs that need a coordinator: those with facts in their inbox, and those whose time has come.
-- Plans: run_inbox_run (the inbox is nearly empty always), run_wake. Locks: the rows of these runs, skipping
-- what another process holds, so any number of coordinators may run and each run has one writer at a time.
WITH ready AS (
    (SELECT DISTINCT run_id AS id FROM run_inbox WHERE run_id <> ALL(%(resting)s::uuid[]) LIMIT %(limit)s)
    UNION
    (SELECT id FROM run WHERE wake_at <= clock_timestamp() AND id <> ALL(%(resting)s::uuid[]) ORDER BY priority, wake_at LIMIT %(limit)s)
)
SELECT id::text, workflow, version, status, priority, parent::text, parent_node, depth, last_seq,
    EXISTS (SELECT 1 FROM run_inbox WHERE run_inbox.run_id = run.id),
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, NULL
FROM run WHERE id IN (SELECT id FROM ready)
ORDER BY priority, wake_at NULLS LAST LIMIT %(limit)s
FOR UPDATE SKIP LOCKED
