-- Takes away the tasks whose results are about to be recorded; fencing: only under the lease's own token.
DELETE FROM task USING unnest(%(ids)s::bigint[], %(tokens)s::bigint[]) AS u(id, token)
WHERE task.id = u.id AND task.lease_token = u.token
RETURNING task.id
