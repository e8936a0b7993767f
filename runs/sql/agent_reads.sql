-- The tools that answered an agent, in order, and whether what they said came from outside AOB.
SELECT ended.data ->> 'step', coalesce(began.data #>> '{what,tool}', 'tool'), ended.data ->> 'outside' IS NOT NULL
FROM run_event ended
JOIN run_event began ON began.run_id = ended.run_id AND began.node = ended.node AND began.type = 'AgentStepStarted'
    AND began.data ->> 'step' = ended.data ->> 'step'
WHERE ended.run_id = %(run)s AND ended.node = %(node)s AND ended.type = 'AgentStepEnded'
    AND ended.data ->> 'kind' = 'tool' AND coalesce(began.data #>> '{what,tool}', '') <> %(changes)s
ORDER BY ended.seq
