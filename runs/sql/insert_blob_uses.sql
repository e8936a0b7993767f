-- The names in the events of a batch, and whether their runs may read them; a right that a run has stays.
-- Both lookups are by the primary key.
INSERT INTO blob_use (run_id, hash, readable)
SELECT u.run_id, u.hash, bool_or(u.readable OR EXISTS (
    SELECT FROM blob_use g WHERE g.run_id = u.source AND g.hash = u.hash AND g.readable
))
FROM unnest(%(run)s::uuid[], %(hash)s::text[], %(readable)s::bool[], %(source)s::uuid[]) AS u(run_id, hash, readable, source)
GROUP BY u.run_id, u.hash
ORDER BY u.run_id, u.hash
ON CONFLICT (run_id, hash) DO UPDATE SET readable = true WHERE excluded.readable AND NOT blob_use.readable
