-- The newest completed runs of a workflow with the length of their logs, by the index on workflow and id; looks at no
-- more than 500 runs.
SELECT id::text, last_seq FROM (
    SELECT id, status, last_seq FROM run WHERE workflow = %(workflow)s ORDER BY id DESC LIMIT 500
) AS latest
WHERE status = 'completed'
ORDER BY id DESC
LIMIT %(limit)s
