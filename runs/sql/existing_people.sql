-- Who is behind these names: active users, and of each group as many as a quorum can need, one of them barred. By the
-- indexes on the names and on the group of a membership.
SELECT 'user:' || username, username FROM auth_user WHERE is_active AND username = ANY(%(users)s::text[])
UNION ALL
SELECT 'group:' || g.name, m.username FROM auth_group g CROSS JOIN LATERAL (
    SELECT u.username FROM auth_user_groups m JOIN auth_user u ON u.id = m.user_id
    WHERE m.group_id = g.id AND u.is_active LIMIT 101) m
WHERE g.name = ANY(%(groups)s::text[])
