-- One batch of a search: the newest candidates below a bound, of which those are given that fit.
-- {candidates} walks one index downwards and stops at the batch's size, so a batch costs the same however many runs
-- there are; {fits} is tested on these rows alone. The outer join gives the number of rows that were looked at and the
-- last of them also when none fits.
WITH batch AS MATERIALIZED ({candidates}),
seen AS (SELECT count(*) AS looked_at, (SELECT id FROM batch ORDER BY id LIMIT 1) AS last FROM batch)
SELECT seen.looked_at, seen.last::text, found.*
FROM seen LEFT JOIN LATERAL (SELECT {columns}{values} FROM batch run WHERE {fits} ORDER BY run.id DESC) found ON true
