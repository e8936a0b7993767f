-- Tasks that nobody took: their doorbell may be lost, so they are rung again.
UPDATE task SET rung_at = clock_timestamp() WHERE id IN (
    SELECT id FROM task
    WHERE lease_until IS NULL AND rung_at < clock_timestamp() - make_interval(secs => %(seconds)s)
    ORDER BY priority, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
RETURNING id, plane, priority
