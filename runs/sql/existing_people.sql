-- Which of these users and groups are somebody: an active user, or a group that has one. By the indexes on their names.
SELECT 'user:' || username FROM auth_user WHERE is_active AND username = ANY(%(users)s::text[])
UNION ALL
SELECT 'group:' || g.name FROM auth_group g WHERE g.name = ANY(%(groups)s::text[])
    AND EXISTS (SELECT FROM auth_user_groups m JOIN auth_user u ON u.id = m.user_id
        WHERE m.group_id = g.id AND u.is_active)
