-- One patch, of a run where that is given. A replay that copies it has it too: the run that had it first is meant.
SELECT p.run_id::text, p.id::text, p.status, p.last_seq, f.at, f.data, l.at, l.data, p.first_seq
FROM run_patch p
JOIN run_event f ON f.run_id = p.run_id AND f.seq = p.first_seq
JOIN run_event l ON l.run_id = p.run_id AND l.seq = p.last_seq
WHERE p.id = %(patch)s AND (%(run)s::uuid IS NULL OR p.run_id = %(run)s::uuid)
ORDER BY p.run_id
LIMIT 1
