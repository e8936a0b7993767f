-- What is new in watched runs, each after the seq that its watchers have. Plan: the primary key, once for each run.
SELECT e.run_id::text, e.seq, e.type, e.at, e.node, e.data
FROM unnest(%(run)s::uuid[], %(seq)s::int[]) AS u(run, seq)
JOIN run_event AS e ON e.run_id = u.run AND e.seq > u.seq
ORDER BY e.run_id, e.seq LIMIT %(limit)s
