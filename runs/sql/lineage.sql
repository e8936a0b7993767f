-- A run and those above it, the root first: the workflow, the version now, the one that it began with, and the agents of
-- the run above whose patches brought the node that started it.
WITH RECURSIVE up (id, parent, workflow, version, depth) AS (
    SELECT id, parent, workflow, version, depth FROM run WHERE id = %(run)s
    UNION ALL
    SELECT run.id, run.parent, run.workflow, run.version, run.depth FROM run JOIN up ON run.id = up.parent
)
SELECT up.id::text, up.workflow, up.version, began.data->>'version', began.data->'parent'->'brought_by'
FROM up JOIN run_event began ON began.run_id = up.id AND began.seq = 1 ORDER BY up.depth
