-- Writes the projections of a batch of runs in one statement.
UPDATE run SET version = u.version, status = u.status, last_seq = u.last_seq, wake_at = u.wake_at,
    ended_at = u.ended_at, error = u.error
FROM unnest(%(id)s::uuid[], %(version)s::text[], %(status)s::text[], %(last_seq)s::int[],
    %(wake_at)s::timestamptz[], %(ended_at)s::timestamptz[], %(error)s::jsonb[])
    AS u(id, version, status, last_seq, wake_at, ended_at, error)
WHERE run.id = u.id
