-- Blobs that nothing has named for a while: no run's log, no stored value, no patch of a workflow. Not locked yet.
-- Plan: by the indexes of what may name them.
SELECT hash FROM blob
WHERE created_at < clock_timestamp() - make_interval(secs => %(age)s)
    AND NOT EXISTS (SELECT FROM blob_use WHERE blob_use.hash = blob.hash)
    AND NOT EXISTS (SELECT FROM blob_part WHERE blob_part.part = blob.hash)
    AND NOT EXISTS (SELECT FROM workflow_patch WHERE evidence = blob.hash AND evidence <> '')
LIMIT %(limit)s
