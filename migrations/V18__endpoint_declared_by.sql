-- Who set objective and window of an endpoint. What the configuration file set goes
-- back to the usual when the file no longer says it, and the API leaves it alone;
-- what the API set stays until somebody says otherwise.

-- Null where nobody set anything.
alter table endpoint add column declared_by target_source;
