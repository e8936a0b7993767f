-- The database's time in microseconds, and the versions that names with tags mean now; at least one row.
-- An experiment holds while its tag names the version that it began with; the index of live ones has it, or none.
SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, u.name, u.tag, tag.version_id,
    experiment.version, experiment.share
FROM (SELECT 1) AS one
LEFT JOIN unnest(%(name)s::text[], %(tag)s::text[]) AS u(name, tag) ON true
LEFT JOIN workflow ON workflow.name = u.name
LEFT JOIN tag ON tag.workflow_id = workflow.id AND tag.name = u.tag
LEFT JOIN experiment ON experiment.workflow_id = workflow.id AND experiment.tag = u.tag
    AND experiment.ended_at IS NULL AND experiment.before = tag.version_id
