-- New tasks; those that the calling worker adopts are leased to it at once (`lease_seconds` is not null).
INSERT INTO task (run_id, node, attempt, losses, type, plane, priority, input_seq, timeout, rung_at, lease_until,
    lease_token, leased_at, worker)
SELECT u.run_id, u.node, u.attempt, u.losses, u.type, u.plane, u.priority, u.input_seq, u.timeout, clock_timestamp(),
    CASE WHEN u.adopted THEN clock_timestamp() + make_interval(secs => %(lease_seconds)s) END,
    CASE WHEN u.adopted THEN nextval('lease_token') END,
    CASE WHEN u.adopted THEN clock_timestamp() END,
    CASE WHEN u.adopted THEN %(worker)s END
FROM unnest(%(run_id)s::uuid[], %(node)s::text[], %(attempt)s::int[], %(losses)s::int[], %(type)s::text[],
    %(plane)s::text[], %(priority)s::int[], %(input_seq)s::int[], %(timeout)s::float8[], %(adopted)s::bool[])
    AS u(run_id, node, attempt, losses, type, plane, priority, input_seq, timeout, adopted)
ON CONFLICT (run_id, node, attempt) DO NOTHING
RETURNING id, run_id::text, node, attempt, type, plane, priority, input_seq, timeout, lease_token
