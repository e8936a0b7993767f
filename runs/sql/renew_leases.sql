-- Heartbeat: prolongs the leases that still hold; what is missing in the answer is no longer ours.
UPDATE task SET lease_until = clock_timestamp() + make_interval(secs => %(seconds)s)
FROM unnest(%(ids)s::bigint[], %(tokens)s::bigint[]) AS u(id, token)
WHERE task.id = u.id AND task.lease_token = u.token AND task.lease_until > clock_timestamp()
RETURNING task.id
