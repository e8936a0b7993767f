-- A ticket that was just opened. ANYONE stands for an empty list of assignees, so that "mine" is one overlap of arrays.
INSERT INTO ticket (id, run_id, seq, node, kind, workflow, title, assignees, answered, away, not_by, nor_by, status, priority, bulk,
    due_at, created_at)
VALUES (%(id)s, %(run)s, %(seq)s, %(node)s, %(kind)s, %(workflow)s, %(title)s, %(assignees)s::text[], '{}', '{}',
    %(not_by)s, %(nor_by)s::text[], 'open', %(priority)s, %(bulk)s, %(due)s, %(at)s)
