-- Whether a version was ever in force in a run: it began with it, or a patch made it.
SELECT 1 FROM run_event
WHERE run_id = %(run)s AND (
    (seq = 1 AND data ->> 'version' = %(version)s)
    OR (type = 'PatchApplied' AND data ->> 'version' = %(version)s)
)
LIMIT 1
