-- psql: the vector is a variable. The first three searches print the same rows.
\set vector '[0.1,0.9,0]'
SELECT id, distance, payload FROM vcache_search('documents', :'vector', 3);
SELECT id, distance, payload FROM vcache_search('documents', ARRAY[0.1,0.9,0], 3);
PREPARE nearest AS SELECT id, distance, payload FROM vcache_search('documents', $1, $2);
EXECUTE nearest(:'vector', 3);
SELECT id, distance, payload FROM vcache_search('documents', :'vector', 3) \gdesc
SELECT id AS nearest FROM vcache_search('documents', :'vector', 1) \gset
\echo :nearest
\set ON_ERROR_STOP off
SELECT id FROM vcache_search('nothing', :'vector');
\echo :LAST_ERROR_SQLSTATE
