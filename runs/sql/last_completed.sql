-- The newest completed run of the same workflow, by the index on workflow and id; looks at no more than 50 runs.
SELECT id::text FROM (
    SELECT id, status FROM run
    WHERE workflow = (SELECT workflow FROM run WHERE id = %(run)s) AND id < %(run)s
    ORDER BY id DESC LIMIT 50
) AS latest
WHERE status = 'completed'
ORDER BY id DESC
LIMIT 1
