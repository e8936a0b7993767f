-- Runs of a workflow in a time by version, those of sub-workflows left out: how many, how many completed and failed, the
-- median and the 95th percentile of what completed ones took in seconds, and how many rows were read for it. Ids are
-- ordered by time, so the index on workflow and id bounds the reading, the newest first.
SELECT version, count(*) FILTER (WHERE parent IS NULL),
    count(*) FILTER (WHERE parent IS NULL AND status = 'completed'),
    count(*) FILTER (WHERE parent IS NULL AND status IN ('failed', 'timed_out')),
    percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM ended_at - created_at))
        FILTER (WHERE parent IS NULL AND status = 'completed'),
    percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM ended_at - created_at))
        FILTER (WHERE parent IS NULL AND status = 'completed'),
    (sum(count(*)) OVER ())::bigint
FROM (
    SELECT version, status, created_at, ended_at, parent FROM run
    WHERE workflow = %(workflow)s AND id >= %(first)s::uuid AND id < %(last)s::uuid
    ORDER BY id DESC LIMIT %(limit)s
) AS latest
GROUP BY version
