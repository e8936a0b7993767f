-- The patches of a run, the oldest first: the event that brought each and the last one about it.
SELECT p.run_id::text, p.id::text, p.status, p.last_seq, f.at, f.data, l.at, l.data, p.first_seq
FROM run_patch p
JOIN run_event f ON f.run_id = p.run_id AND f.seq = p.first_seq
JOIN run_event l ON l.run_id = p.run_id AND l.seq = p.last_seq
WHERE p.run_id = %(run)s
ORDER BY p.first_seq
