-- Adds to the tokens and the cost (millionths of a dollar) of a workflow's agents today (UTC), '' for all workflows;
-- gives the sums. Concurrent calls wait for each other's commits, so no sum is passed unseen.
INSERT INTO agent_spend (day, workflow, tokens, cost)
VALUES ((clock_timestamp() AT TIME ZONE 'UTC')::date, %(workflow)s, greatest(%(tokens)s, 0), greatest(%(cost)s, 0))
ON CONFLICT (day, workflow) DO UPDATE
SET tokens = greatest(agent_spend.tokens + %(tokens)s, 0), cost = greatest(agent_spend.cost + %(cost)s, 0)
RETURNING tokens, cost
