-- Keeps what failed for good, with how often it was tried and where its input stands. Plan: primary key of run_event.
INSERT INTO dead_letter (run_id, seq, workflow, node, type, attempts, input_seq, error, created_at, status)
SELECT u.run, u.seq, u.workflow, u.node, u.type, tried.attempts, tried.input_seq, u.error, u.at, 'open'
FROM unnest(%(run)s::uuid[], %(seq)s::int[], %(workflow)s::text[], %(node)s::text[], %(type)s::text[],
    %(error)s::jsonb[], %(at)s::timestamptz[]) AS u(run, seq, workflow, node, type, error, at)
CROSS JOIN LATERAL (
    SELECT count(*) AS attempts, min(e.seq) AS input_seq FROM run_event e
    WHERE e.run_id = u.run AND e.node = u.node AND e.type = 'TaskScheduled'
) AS tried
ON CONFLICT DO NOTHING
