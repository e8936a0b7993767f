-- How many runs wait for a coordinator and how many tasks for a worker, counted up to a limit. Plans: run_wake, task_free.
SELECT
    (SELECT count(*) FROM (SELECT 1 FROM run WHERE wake_at <= clock_timestamp() LIMIT %(limit)s) AS ready),
    (SELECT count(*) FROM (SELECT 1 FROM task WHERE lease_until IS NULL LIMIT %(limit)s) AS free)
