-- Deletes those of the locked blobs that are still unused: who named one before the lock has committed by now, and who
-- wants to name one from here on waits for this transaction.
DELETE FROM blob
WHERE hash = ANY(%(names)s)
    AND NOT EXISTS (SELECT FROM blob_use WHERE blob_use.hash = blob.hash)
    AND NOT EXISTS (SELECT FROM blob_part WHERE blob_part.part = blob.hash)
    AND NOT EXISTS (SELECT FROM workflow_patch WHERE evidence = blob.hash AND evidence <> '')
RETURNING hash, data IS NULL
