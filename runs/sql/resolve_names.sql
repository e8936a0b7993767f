-- The database's time in microseconds, and the versions that names with tags mean now; at least one row.
SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, u.name, u.tag, tag.version_id
FROM (SELECT 1) AS one
LEFT JOIN unnest(%(name)s::text[], %(tag)s::text[]) AS u(name, tag) ON true
LEFT JOIN workflow ON workflow.name = u.name
LEFT JOIN tag ON tag.workflow_id = workflow.id AND tag.name = u.tag
