-- Patches as the log tells them: the first event about one makes its row, later ones move it on.
INSERT INTO run_patch (run_id, id, status, first_seq, last_seq)
SELECT * FROM unnest(%(run)s::uuid[], %(id)s::uuid[], %(status)s::text[], %(first)s::int[], %(last)s::int[])
ON CONFLICT (run_id, id) DO UPDATE SET status = excluded.status, last_seq = excluded.last_seq
