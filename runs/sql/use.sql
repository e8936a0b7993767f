-- Adds to what agents used of each of these budgets, in their order; gives the sums. The rows stay locked until the commit,
-- so no sum is passed unseen; the first is the root run's, so two steps of its runs never wait for each other in a circle.
INSERT INTO agent_use (run_id, node, tokens, cost, steps, micros)
SELECT u.run_id, u.node, greatest(%(tokens)s, 0), greatest(%(cost)s, 0), %(steps)s, %(micros)s
FROM unnest(%(runs)s::uuid[], %(nodes)s::text[]) WITH ORDINALITY AS u(run_id, node, place) ORDER BY u.place
ON CONFLICT (run_id, node) DO UPDATE
SET tokens = greatest(agent_use.tokens + %(tokens)s, 0), cost = greatest(agent_use.cost + %(cost)s, 0),
    steps = agent_use.steps + %(steps)s, micros = agent_use.micros + %(micros)s
RETURNING run_id::text, node, tokens, cost, steps, micros
